"""Decoding of many rows at once: prompts without padding, then one step for all rows, on a GPU from a CUDA graph.

The model's own forward computes everything but attention (tasks/decoding/kv_cache.py). Nothing but two numbers a row go
back to the host, every few steps, so the GPU never waits. Rows that have ended are dropped once half of them have.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tasks.decoding.batching import part_of, parts, shape
from tasks.decoding.cuda_graphs import Graphs
from tasks.decoding.flash_cache import FlashCache
from tasks.decoding.kv_cache import NAME, Cache, EvenCache
from tasks.decoding.sampling import Sampling
from tasks.models.loading import flash_attention

PROMPT_TOKENS = {"cuda": 16_384, "cpu": 2_048}
"""Tokens of one forward over prompts: enough to fill the device, few enough for its memory."""
LOOK_EVERY = {"cuda": 8, "cpu": 1}
"""Steps between two looks at which rows have ended; a look makes a GPU wait."""


class NotFiniteError(ArithmeticError):
    """The model's scores for a row were no numbers."""

    def __init__(self, row: int, position: int) -> None:
        super().__init__(f"row {row}, token {position}")
        self.row, self.position = row, position


class Decoder:
    """Decodes batches of at most `rows` rows for one model.

    `prompt_tokens` is the most that the prompts of one batch have together, `longest` the longest of them,
    `new_tokens` the limit of each row.
    """

    def __init__(
        self, model: Any, stop_id: int, rows: int, prompt_tokens: int, longest: int, new_tokens: int,
        sampling: Sampling | None = None, graphs: bool | None = None,
    ) -> None:  # fmt: skip
        self.model, self.stop_id, self.new_tokens, self.sampling = model, stop_id, new_tokens, sampling
        self.room = (rows, prompt_tokens, longest)
        device, dtype = model.device, model.dtype
        wanted = device.type == "cuda" if graphs is None else graphs
        self.sizes = sorted({rows, *(part_of(rows, n) for n in (2, 4))})
        """Rows that a graph may have."""
        self.cache: Cache
        if flash_attention(model.config, device, dtype):
            self.cache = FlashCache(model.config, rows, prompt_tokens + (rows + 1) * new_tokens, device, dtype)
        else:
            self.cache = EvenCache(model.config, rows, rows * (longest + new_tokens), device, dtype)
        whole = {"device": device, "dtype": torch.int64}
        self.said = torch.zeros(rows, new_tokens, **whole)
        """[rows, new tokens] what was decoded."""
        self.draws = torch.zeros(rows, new_tokens, device=device, dtype=torch.float64)
        """[rows, new tokens] numbers in [0, 1) that sampling uses."""
        self.last = torch.zeros(rows, 1, **whole)
        """[rows, 1] the newest token, which the cache does not have yet."""
        self.lengths = torch.zeros(rows, **whole)
        """[rows] tokens in the cache."""
        self.alive = torch.ones(rows, **whole)
        """[rows] 0 once the stop token was said."""
        self.broken = torch.zeros(rows, **whole)
        """[rows] the first token whose scores were no numbers, counted from 1; 0: none."""
        self.column = torch.zeros(1, **whole)
        """Column of `said` that the next step writes."""
        state = (self.said, self.last, self.lengths, self.alive, self.broken, self.column)
        self.graphs = Graphs(state) if wanted else None

    def fits(self, prompts: list[list[int]]) -> bool:
        """Whether the batch has room here."""
        return all(a <= b for a, b in zip(shape(prompts), self.room, strict=True))

    @torch.inference_mode()
    def decode(self, prompts: list[list[int]], draws: Sequence[np.ndarray | None] = (None,)) -> list[list[list[int]]]:
        """Token ids of each prompt -> ids that follow, the stop token included, once for each of `draws`.

        None is the greedy answer; [prompts, new tokens] numbers in [0, 1) are used up by sampling. The prompts are read
        once. ValueError if the batch is too large, NotFiniteError if the model computes no numbers.
        """
        with self._attention():
            self._read(prompts)
            return [self._speak(prompts, numbers) for numbers in draws]

    def _read(self, prompts: list[list[int]]) -> None:
        """Fill the cache with the prompts."""
        lengths = [len(prompt) for prompt in prompts]
        starts = self.cache.place([length + self.new_tokens for length in lengths], self.new_tokens)
        device = self.last.device
        for part in parts(lengths, PROMPT_TOKENS[device.type]):
            self.cache.begin_prompts(starts[part], lengths[part])
            ids = torch.tensor([token for prompt in prompts[part] for token in prompt], device=device)
            places = torch.cat([torch.arange(length) for length in lengths[part]]).to(device)
            self._hidden(ids[None], places[None])

    def _speak(self, prompts: list[list[int]], draws: np.ndarray | None) -> list[list[int]]:
        """Steps until all rows have ended; the first takes the last token of each prompt once more."""
        rows, longest, found = len(prompts), max(map(len, prompts)), [list[int]() for _ in prompts]
        order, size, steps = list(range(rows)), self._size(rows), 0
        self.cache.restore()
        self.alive.fill_(1)
        for state in (self.column, self.lengths, self.broken):
            state.zero_()
        self.lengths[:rows] = torch.tensor([len(prompt) - 1 for prompt in prompts])
        self.last[:rows, 0] = torch.tensor([prompt[-1] for prompt in prompts])
        if draws is not None:
            self.draws[:rows] = torch.from_numpy(draws)
        while True:
            until = min(self.new_tokens, steps + LOOK_EVERY[self.last.device.type])
            for step in range(steps, until):
                self._advance(size, longest + step, draws is not None)
            steps = until
            alive, broken = torch.stack([self.alive[: len(order)], self.broken[: len(order)]]).tolist()
            if any(broken):
                row = next(i for i, position in enumerate(broken) if position)
                raise NotFiniteError(order[row], broken[row])
            if steps == self.new_tokens or not any(alive):
                break
            if (smaller := self._size(sum(alive))) < size:
                self._collect(found, order, steps, [row for row, lives in enumerate(alive) if not lives])
                kept = [row for row, lives in enumerate(alive) if lives]
                order, size = [order[row] for row in kept], smaller
                self._keep(kept)
        self._collect(found, order, steps, range(len(order)))
        return found

    def _size(self, rows: int) -> int:
        """Rows of the batch that computes `rows` rows."""
        return rows if self.graphs is None else next(size for size in self.sizes if size >= rows)

    def _step(self, rows: int, width: int, sampled: bool) -> None:
        """One token more for each of the first `rows` rows, none longer than `width` with it."""
        lengths, alive, broken = self.lengths[:rows], self.alive[:rows], self.broken[:rows]
        self.cache.begin_step((lengths + 1).to(torch.int32), width)
        logits = scores(
            self._hidden(self.last[:rows], lengths[:, None])[:, -1], self.model.get_output_embeddings().weight
        )
        best, chosen = logits.max(-1)  # nan is the largest
        if sampled:
            assert self.sampling is not None
            chosen = self.sampling.pick(logits, best, self.draws[:rows].index_select(1, self.column)[:, 0])
        self.said[:rows].index_copy_(1, self.column, chosen[:, None])
        self.last[:rows] = chosen[:, None]
        self.column += 1
        lengths += 1
        broken += self.column * (~best.isfinite() & (alive > 0) & (broken == 0))
        alive *= chosen != self.stop_id

    def _hidden(self, ids: Tensor, places: Tensor) -> Tensor:
        """[rows, length, hidden size] what the last layer says of each token of `ids`, normalized."""
        states: Tensor = self.model.base_model(
            input_ids=ids, position_ids=places, use_cache=False, rows=self.cache
        ).last_hidden_state
        return states

    def _advance(self, rows: int, width: int, sampled: bool) -> None:
        """`_step`, from a graph where there are graphs; they are as wide as rows can become."""
        if self.graphs is None:
            self._step(rows, width, sampled)
        else:
            self.graphs.run(self._step, rows, self.room[2] + self.new_tokens, sampled)

    def _keep(self, rows: list[int]) -> None:
        """Make the given rows the first ones, and all others nobody's."""
        index = torch.tensor(rows, device=self.last.device)
        self.cache.keep(rows)
        for state in (self.said, self.draws, self.last, self.lengths, self.alive):
            state[: len(rows)] = state[index]
        self.lengths[len(rows) :] = 0

    def _collect(self, found: list[list[int]], order: list[int], steps: int, rows: Any) -> None:
        """Take what the given rows said, to the stop token or the end, to where their prompt stood."""
        said = self.said[: len(order), :steps].tolist()
        for row in rows:
            tokens = said[row]
            found[order[row]] = tokens[: tokens.index(self.stop_id) + 1] if self.stop_id in tokens else tokens

    @contextmanager
    def _attention(self) -> Iterator[None]:
        """The model's attention is ours inside."""
        before = self.model.config._attn_implementation
        self.model.set_attn_implementation(NAME)
        try:
            yield
        finally:
            self.model.set_attn_implementation(before)


def scores(hidden: Tensor, head: Tensor) -> Tensor:
    """[rows, hidden size], [vocabulary, hidden size] -> [rows, vocabulary].

    fp32 on a GPU, where half precision would round neighbours to the same score.
    """
    if hidden.device.type == "cuda" and hidden.dtype != torch.float32:
        return torch.mm(hidden, head.T, out_dtype=torch.float32)
    return F.linear(hidden, head)

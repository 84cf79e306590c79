"""Greedy decoding of many rows at once: prompts without padding, then one step for all rows, on a GPU from a CUDA graph.

The model's own forward computes everything but attention (tasks/kv_cache.py). Nothing but a flag a row goes back to the
host, every few steps, so the GPU never waits. Rows that have ended are dropped once half of them have.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from tasks.flash_cache import FlashCache
from tasks.kv_cache import NAME, Cache, EvenCache

FAMILIES = ("gemma", "llama", "mistral", "qwen2", "qwen3")
"""Model types whose layers are attention over all earlier tokens and nothing else, tested in tests/test_decoder.py."""
PROMPT_TOKENS = {"cuda": 16_384, "cpu": 2_048}
"""Tokens of one forward over prompts: enough to fill the device, few enough for its memory."""
LOOK_EVERY = {"cuda": 8, "cpu": 1}
"""Steps between two looks at which rows have ended; a look makes a GPU wait."""


def supported(model: Any) -> bool:
    """Whether `Decoder` computes what this model means."""
    config = model.config
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return (
        config.model_type in FAMILIES
        and not getattr(config, "use_sliding_window", config.model_type == "mistral" and config.sliding_window)
        and rope not in ("dynamic", "longrope")  # they change with the longest row of the batch
    )


class Decoder:
    """Decodes batches of at most `rows` rows for one model.

    `prompt_tokens` is the most that the prompts of one batch have together, `longest` the longest of them,
    `new_tokens` the limit of each row.
    """

    def __init__(
        self, model: Any, stop_id: int, rows: int, prompt_tokens: int, longest: int, new_tokens: int,
        graphs: bool | None = None, shrink: bool = True,
    ) -> None:  # fmt: skip
        self.model, self.stop_id, self.new_tokens, self.shrink = model, stop_id, new_tokens, shrink
        device, dtype = model.device, model.dtype
        wanted = device.type == "cuda" if graphs is None else graphs
        self.graphs: dict[int, Callable[[], None]] | None = {} if wanted else None
        """Rows -> a step of so many; None: no graphs."""
        self.pool: Any = None
        self.sizes = sorted({rows, *(_rounded(rows, part) for part in (2, 4))})
        """Rows that a graph may have."""
        self.cache: Cache
        if FlashCache.possible(model.config, device, dtype):
            self.cache = FlashCache(model.config, rows, prompt_tokens + (rows + 1) * new_tokens, device, dtype)
        else:
            self.cache = EvenCache(model.config, rows, rows * (longest + new_tokens), device, dtype)
        self.width = longest + new_tokens
        self.said = torch.zeros(rows, new_tokens, device=device, dtype=torch.int64)
        """[rows, new tokens] what was decoded."""
        self.last = torch.zeros(rows, 1, device=device, dtype=torch.int64)
        """[rows, 1] the newest token, which the cache does not have yet."""
        self.lengths = torch.zeros(rows, device=device, dtype=torch.int64)
        """[rows] tokens in the cache."""
        self.alive = torch.ones(rows, device=device, dtype=torch.bool)
        self.column = torch.zeros(1, device=device, dtype=torch.int64)
        """Column of `said` that the next step writes."""

    @torch.inference_mode()
    def warm_up(self) -> None:
        """Make the graph of a full batch, so that no batch has to wait for it."""
        if self.graphs is not None:
            with self._attention():
                self.cache.place([self.new_tokens] * len(self.last), self.new_tokens)
                self.lengths.zero_()
                self._replay(self.sizes[-1])

    @torch.inference_mode()
    def decode(self, prompts: list[list[int]]) -> list[list[int]]:
        """Token ids of each prompt -> ids that follow, the stop token included. ValueError if the batch is too large."""
        with self._attention():
            self._read(prompts)
            return self._speak(len(prompts), max(map(len, prompts)))

    def _read(self, prompts: list[list[int]]) -> None:
        """Fill the cache with the prompts and decode the first token of each."""
        lengths = [len(prompt) for prompt in prompts]
        starts = self.cache.place([length + self.new_tokens for length in lengths], self.new_tokens)
        device = self.last.device
        self.alive.fill_(True)
        self.column.zero_()
        self.lengths.zero_()
        self.lengths[: len(prompts)] = torch.tensor(lengths, device=device)
        for part in _parts(lengths, PROMPT_TOKENS[device.type]):
            self.cache.begin_prompts(starts[part], lengths[part])
            ids = torch.tensor([token for prompt in prompts[part] for token in prompt], device=device)
            places = torch.cat([torch.arange(length) for length in lengths[part]]).to(device)
            ends = torch.tensor(lengths[part]).cumsum(0).to(device) - 1
            self.last[part] = self._next(ids[None], places[None], ends)[0][:, None]
        self._note(len(prompts))

    def _speak(self, rows: int, longest: int) -> list[list[int]]:
        """Steps until all rows have ended."""
        found: list[list[int]] = [[] for _ in range(rows)]
        order = list(range(rows))
        size, steps = self._size(rows), 1
        while True:
            alive = self.alive[: len(order)].tolist()
            if steps == self.new_tokens or not any(alive):
                break
            if self.shrink and (smaller := self._size(sum(alive))) < size:
                self._collect(found, order, steps, [row for row, lives in enumerate(alive) if not lives])
                kept = [row for row, lives in enumerate(alive) if lives]
                order, size = [order[row] for row in kept], smaller
                self._keep(kept)
            until = min(self.new_tokens, steps + LOOK_EVERY[self.last.device.type])
            for step in range(steps, until):
                if self.graphs is None:
                    self._step(size, longest + step)
                else:
                    self._replay(size)
            steps = until
        self._collect(found, order, steps, range(len(order)))
        return found

    def _size(self, rows: int) -> int:
        """Rows of the batch that computes `rows` rows."""
        return rows if self.graphs is None else next(size for size in self.sizes if size >= rows)

    def _step(self, rows: int, width: int) -> None:
        """One token more for each of the first `rows` rows, none longer than `width` with it."""
        lengths = self.lengths[:rows]
        self.cache.begin_step((lengths + 1).to(torch.int32), width)
        self.last[:rows] = self._next(self.last[:rows], lengths[:, None], 1)
        lengths += 1
        self._note(rows)

    def _next(self, ids: Tensor, places: Tensor, kept: int | Tensor) -> Tensor:
        """The likeliest token after each kept position: [batch, kept]."""
        logits = self.model(
            input_ids=ids, position_ids=places, use_cache=False, logits_to_keep=kept, rows=self.cache
        ).logits
        chosen: Tensor = logits.argmax(-1)
        return chosen

    def _note(self, rows: int) -> None:
        """Write down the newest token of each row, and whether it was the stop token."""
        self.said[:rows].index_copy_(1, self.column, self.last[:rows])
        self.alive[:rows] &= self.last[:rows, 0] != self.stop_id
        self.column += 1

    def _replay(self, rows: int) -> None:
        """`_step` from a graph, which is made at its first use."""
        assert self.graphs is not None
        if rows not in self.graphs:
            self.graphs[rows] = self._captured(rows)
        self.graphs[rows]()

    def _captured(self, rows: int) -> Callable[[], None]:
        """A CUDA graph of `_step`. The step that is run to warm up is taken back."""
        state = (self.said, self.last, self.lengths, self.alive, self.column)
        before = [tensor.clone() for tensor in state]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._step(rows, self.width)
            for tensor, old in zip(state, before, strict=True):
                tensor.copy_(old)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=stream):  # one pool: they never run at once
            self._step(rows, self.width)
        self.pool = self.pool or graph.pool()
        replay: Callable[[], None] = graph.replay
        return replay

    def _keep(self, rows: list[int]) -> None:
        """Make the given rows the first ones, and all others nobody's."""
        index = torch.tensor(rows, device=self.last.device)
        self.cache.keep(index)
        for state in (self.said, self.last, self.lengths, self.alive):
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


def _rounded(rows: int, part: int) -> int:
    """A `part` of the rows, up to a multiple of 8."""
    return min(rows, -(-rows // (8 * part)) * 8)


def _parts(lengths: list[int], most: int) -> Iterator[slice]:
    """Consecutive rows of together at most `most` tokens, at least one each."""
    start, tokens = 0, 0
    for row, length in enumerate(lengths):
        if row > start and tokens + length > most:
            yield slice(start, row)
            start, tokens = row, 0
        tokens += length
    yield slice(start, len(lengths))

"""Decoding of many rows at once: prefill without padding, then decode steps for all rows, on a GPU from CUDA graphs.

The model's own forward pass computes everything but attention (tasks/decoding/kv_cache.py). Two numbers per row go
back to the host, every few steps, so the GPU never waits. Finished rows are dropped once half of the rows have
finished.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tasks.decoding.batching import batch_shape, fraction_of_rows, split_by_tokens
from tasks.decoding.cuda_graphs import StepGraphs
from tasks.decoding.flash_cache import FlashCache
from tasks.decoding.kv_cache import ATTENTION_NAME, KVCache, PaddedKVCache, register_attention
from tasks.decoding.sampling import Sampling
from tasks.models.loading import flash_attention

PREFILL_TOKENS = {"cuda": 16_384, "cpu": 2_048}
"""Tokens of one prefill forward: enough to keep the device busy, few enough for its memory."""
SYNC_INTERVAL = {"cuda": 8, "cpu": 1}
"""Decode steps between two checks which rows have finished; a check makes the host wait for the GPU."""


class NonFiniteError(ArithmeticError):
    """The model's logits for a row were NaN or infinite."""

    def __init__(self, row: int, position: int) -> None:
        super().__init__(f"row {row}, token {position}")
        self.row, self.position = row, position


class Decoder:
    """Decodes batches of at most `rows` rows for one model.

    A batch may have `prompt_tokens` tokens in all its prompts together and `longest` in one of them; each row
    generates at most `new_tokens` tokens.
    """

    def __init__(
        self,
        model: Any,
        stop_id: int,
        rows: int,
        prompt_tokens: int,
        longest: int,
        new_tokens: int,
        sampling: Sampling | None = None,
        graphs: bool | None = None,
    ) -> None:
        """`graphs`: whether steps are replayed from CUDA graphs; by default on a GPU."""
        register_attention()
        self.model, self.stop_id, self.new_tokens, self.sampling = model, stop_id, new_tokens, sampling
        self.max_shape = (rows, prompt_tokens, longest)
        device, dtype = model.device, model.dtype
        self.graph_rows = sorted({rows, *(fraction_of_rows(rows, denominator) for denominator in (2, 4))})
        """Numbers of rows for which a graph is captured."""
        self.cache: KVCache
        if flash_attention(model.config, device, dtype):
            self.cache = FlashCache(model.config, rows, prompt_tokens + (rows + 1) * new_tokens, device, dtype)
        else:
            self.cache = PaddedKVCache(model.config, rows, rows * (longest + new_tokens), device, dtype)
        integers: dict[str, Any] = {"device": device, "dtype": torch.int64}
        self.generated = torch.zeros(rows, new_tokens, **integers)
        """[rows, new tokens]"""
        self.uniforms = torch.zeros(rows, new_tokens, device=device, dtype=torch.float64)
        """[rows, new tokens] numbers in [0, 1) for sampling."""
        self.last_tokens = torch.zeros(rows, 1, **integers)
        """[rows, 1] the newest token, which the cache does not hold yet."""
        self.lengths = torch.zeros(rows, **integers)
        """[rows] tokens in the cache."""
        self.active = torch.ones(rows, **integers)
        """[rows] 0 once the stop token was generated."""
        self.first_nonfinite = torch.zeros(rows, **integers)
        """[rows] position of the first token whose logits were NaN or infinite, counted from 1; 0: none."""
        self.column = torch.zeros(1, **integers)
        """Column of `generated` that the next step writes."""
        state = (self.generated, self.last_tokens, self.lengths, self.active, self.first_nonfinite, self.column)
        use_graphs = device.type == "cuda" if graphs is None else graphs
        self.graphs = StepGraphs(state) if use_graphs else None

    def fits(self, prompts: list[list[int]]) -> bool:
        """Whether this decoder is large enough for the batch."""
        return all(size <= limit for size, limit in zip(batch_shape(prompts), self.max_shape, strict=True))

    @torch.inference_mode()
    def decode(
        self, prompts: list[list[int]], uniforms: Sequence[np.ndarray | None] = (None,)
    ) -> list[list[list[int]]]:
        """Token ids of each prompt -> the ids that follow, including the stop token, once for each of `uniforms`.

        None decodes greedily; an array [prompts, new tokens] of numbers in [0, 1) samples. All share one prefill.
        ValueError if the batch is too large, NonFiniteError if the logits are NaN or infinite.
        """
        with self._cached_attention():
            self._prefill(prompts)
            return [self._generate(prompts, numbers) for numbers in uniforms]

    def _prefill(self, prompts: list[list[int]]) -> None:
        """Fill the cache with the prompts."""
        lengths = [len(prompt) for prompt in prompts]
        starts = self.cache.allocate([length + self.new_tokens for length in lengths], self.new_tokens)
        device = self.last_tokens.device
        for part in split_by_tokens(lengths, PREFILL_TOKENS[device.type]):
            self.cache.begin_prefill(starts[part], lengths[part])
            ids = torch.tensor([token for prompt in prompts[part] for token in prompt], device=device)
            positions = torch.cat([torch.arange(length) for length in lengths[part]]).to(device)
            self._hidden(ids[None], positions[None])

    def _generate(self, prompts: list[list[int]], uniforms: np.ndarray | None) -> list[list[int]]:
        """Decode steps until all rows have finished. The first step takes the last token of each prompt once more."""
        longest, outputs = max(map(len, prompts)), [list[int]() for _ in prompts]
        order, size, steps = list(range(len(prompts))), self._padded_rows(len(prompts)), 0
        self._reset(prompts, uniforms)
        while True:
            next_sync = min(self.new_tokens, steps + SYNC_INTERVAL[self.last_tokens.device.type])
            for step in range(steps, next_sync):
                self._run_step(size, longest + step, uniforms is not None)
            steps = next_sync
            active = self._active_rows(order)
            if steps == self.new_tokens or not any(active):
                break
            if (smaller := self._padded_rows(sum(active))) < size:
                self._collect(outputs, order, steps, [row for row, is_active in enumerate(active) if not is_active])
                remaining = [row for row, is_active in enumerate(active) if is_active]
                order, size = [order[row] for row in remaining], smaller
                self._compact(remaining)
        self._collect(outputs, order, steps, range(len(order)))
        return outputs

    def _reset(self, prompts: list[list[int]], uniforms: np.ndarray | None) -> None:
        """The state before the first decode step."""
        rows = len(prompts)
        self.cache.restore()
        self.active.fill_(1)
        for state in (self.column, self.lengths, self.first_nonfinite):
            state.zero_()
        self.lengths[:rows] = torch.tensor([len(prompt) - 1 for prompt in prompts])
        self.last_tokens[:rows, 0] = torch.tensor([prompt[-1] for prompt in prompts])
        if uniforms is not None:
            self.uniforms[:rows] = torch.from_numpy(uniforms)

    def _active_rows(self, order: list[int]) -> list[int]:
        """1 or 0 for each row; waits for the device. NonFiniteError names the row by its index in the batch."""
        rows = len(order)
        active, first_nonfinite = torch.stack([self.active[:rows], self.first_nonfinite[:rows]]).tolist()
        if any(first_nonfinite):
            row = next(i for i, position in enumerate(first_nonfinite) if position)
            raise NonFiniteError(order[row], first_nonfinite[row])
        flags: list[int] = active
        return flags

    def _padded_rows(self, rows: int) -> int:
        """Rows of the batch that computes `rows` rows: with graphs, the next size that is captured."""
        return rows if self.graphs is None else next(size for size in self.graph_rows if size >= rows)

    def _step(self, rows: int, max_length: int, sampled: bool) -> None:
        """Generate one token for each of the first `rows` rows; no row is longer than `max_length` with it."""
        lengths, active, first_nonfinite = self.lengths[:rows], self.active[:rows], self.first_nonfinite[:rows]
        self.cache.begin_decode((lengths + 1).to(torch.int32), max_length)
        hidden = self._hidden(self.last_tokens[:rows], lengths[:, None])[:, -1]
        row_logits = logits(hidden, self.model.get_output_embeddings().weight)
        best, tokens = row_logits.max(-1)  # nan is the largest
        if sampled:
            assert self.sampling is not None
            tokens = self.sampling.select(row_logits, best, self.uniforms[:rows].index_select(1, self.column)[:, 0])
        self.generated[:rows].index_copy_(1, self.column, tokens[:, None])
        self.last_tokens[:rows] = tokens[:, None]
        self.column += 1
        lengths += 1
        first_nonfinite += self.column * (~best.isfinite() & (active > 0) & (first_nonfinite == 0))
        active *= tokens != self.stop_id

    def _hidden(self, ids: Tensor, positions: Tensor) -> Tensor:
        """[rows, length, hidden size] normalized output of the last layer for the tokens `ids`."""
        states: Tensor = self.model.base_model(
            input_ids=ids, position_ids=positions, use_cache=False, kv_cache=self.cache
        ).last_hidden_state
        return states

    def _run_step(self, rows: int, max_length: int, sampled: bool) -> None:
        """`_step`, replayed from a graph if there are graphs; a graph is captured for the longest row possible."""
        if self.graphs is None:
            self._step(rows, max_length, sampled)
        else:
            self.graphs.run(self._step, rows, self.max_shape[2] + self.new_tokens, sampled)

    def _compact(self, rows: list[int]) -> None:
        """Move the given rows to the front; the rest become padding rows."""
        index = torch.tensor(rows, device=self.last_tokens.device)
        self.cache.compact(rows)
        for state in (self.generated, self.uniforms, self.last_tokens, self.lengths, self.active):
            state[: len(rows)] = state[index]
        self.lengths[len(rows) :] = 0

    def _collect(self, outputs: list[list[int]], order: list[int], steps: int, rows: Any) -> None:
        """Copy what the given rows generated, up to the stop token, to the outputs of their prompts."""
        generated = self.generated[: len(order), :steps].tolist()
        for row in rows:
            tokens = generated[row]
            end = tokens.index(self.stop_id) + 1 if self.stop_id in tokens else len(tokens)
            outputs[order[row]] = tokens[:end]

    @contextmanager
    def _cached_attention(self) -> Iterator[None]:
        """Inside of it the model attends through the KV cache."""
        previous = self.model.config._attn_implementation
        self.model.set_attn_implementation(ATTENTION_NAME)
        try:
            yield
        finally:
            self.model.set_attn_implementation(previous)


def logits(hidden: Tensor, head: Tensor) -> Tensor:
    """[rows, hidden size], [vocabulary, hidden size] -> [rows, vocabulary].

    fp32 on a GPU, where half precision would round neighbouring logits to the same value.
    """
    if hidden.device.type == "cuda" and hidden.dtype != torch.float32:
        return torch.mm(hidden, head.T, out_dtype=torch.float32)
    return F.linear(hidden, head)

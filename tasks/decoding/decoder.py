"""Decoding of many sequences at once: one queue of prompts and candidates, on a GPU with steps from CUDA graphs.

The prompts are read once. As many sequences as there is room for are decoded together; where one ends, the next
candidate of the queue takes its place. On a GPU in half precision that happens inside of the step, so the host only
looks every few steps which candidates are finished. The random numbers of a candidate are its own, so what it becomes
does not depend on the others.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tasks.decoding.batching import fraction_of_rows, split_by_tokens
from tasks.decoding.cuda_graphs import StepGraphs
from tasks.decoding.flash_cache import FlashCache
from tasks.decoding.forward import forward_of
from tasks.decoding.kv_cache import CacheShape, KVCache, PaddedKVCache
from tasks.decoding.sampling import Sampler, Sampling
from tasks.models.loading import flash_attention

PREFILL_TOKENS = {"cuda": 16_384, "cpu": 2_048}
"""Tokens of one prefill forward: enough to keep the device busy, few enough for its memory."""
SYNC_INTERVAL = {"cuda": 8, "cpu": 1}
"""Decode steps between two checks which candidates have finished; a check makes the host wait for the GPU."""

Delivery = Callable[[int, list[list[int]]], None]
"""Gets the index of a prompt and the token ids of all its candidates, as soon as the last one is finished."""


class NonFiniteError(ArithmeticError):
    """The model's logits for a prompt were NaN or infinite."""

    def __init__(self, prompt: int, position: int) -> None:
        super().__init__(f"prompt {prompt}, token {position}")
        self.prompt, self.position = prompt, position


class Decoder:
    """Decodes batches that its shape has room for, with one model."""

    def __init__(
        self,
        model: Any,
        stop_id: int,
        shape: CacheShape,
        sampling: Sampling | None = None,
        graphs: bool | None = None,
    ) -> None:
        """`graphs`: whether steps are replayed from CUDA graphs; by default on a GPU."""
        self.stop_id, self.shape = stop_id, shape
        self.sampler = Sampler(sampling, model.device) if sampling else None
        self.forward = forward_of(model)
        self.head: Tensor = model.get_output_embeddings().weight
        device, dtype = model.device, model.dtype
        self.device: torch.device = device
        count = shape.sequences
        self.graph_sizes = sorted({count, *(fraction_of_rows(count, denominator) for denominator in (2, 4))})
        """Numbers of sequences for which a graph is captured."""
        cache_class = FlashCache if flash_attention(model.config, device, dtype) else PaddedKVCache
        self.cache: KVCache = cache_class(model.config, shape, device, dtype)
        integers: dict[str, Any] = {"device": device, "dtype": torch.int64}
        # tables by prompt and by candidate have one row more than there are, for inactive sequences
        self.prompt_lengths = torch.zeros(shape.prompts + 1, **integers)
        """[prompts + 1] tokens in the cache: all but the last one."""
        self.last_prompt_tokens = torch.zeros(shape.prompts + 1, **integers)
        """[prompts + 1]"""
        self.spare_candidate = shape.prompts * shape.candidates
        """Index of a row that belongs to no candidate: what inactive sequences write goes there."""
        self.candidate_prompts = torch.full((self.spare_candidate + 1,), shape.prompts, **integers)
        """[candidates + 1] the prompt that each continues."""
        self.uniforms = torch.zeros(self.spare_candidate + 1, shape.new_tokens, device=device, dtype=torch.float64)
        """[candidates + 1, new tokens] numbers in [0, 1) for sampling; NaN: greedy."""
        self.generated = torch.zeros(self.spare_candidate + 1, shape.new_tokens, **integers)
        """[candidates + 1, new tokens]"""
        self.final_lengths = torch.zeros(self.spare_candidate + 1, **integers)
        """[candidates + 1] tokens of each finished candidate, the stop token included; 0: not finished."""
        self.first_nonfinite = torch.zeros(self.spare_candidate + 1, **integers)
        """[candidates + 1] position of the first token whose logits were NaN or infinite, from 1; 0: none."""
        self.candidates = torch.zeros(count, **integers)
        """[sequences] the candidate that each decodes."""
        self.own_lengths = torch.zeros(count, **integers)
        """[sequences] tokens generated."""
        self.last_tokens = torch.zeros(count, **integers)
        """[sequences] the newest token, which the cache does not hold yet."""
        self.active = torch.zeros(count, device=device, dtype=torch.bool)
        """[sequences]"""
        self.next_candidate = torch.zeros(1, **integers)
        """[1] the first candidate that still waits."""
        self.candidate_count = torch.zeros(1, **integers)
        """[1] candidates of the batch."""
        tables = (self.generated, self.final_lengths, self.first_nonfinite)
        state = (*tables, self.candidates, self.own_lengths, self.last_tokens, self.active, self.next_candidate)
        use_graphs = device.type == "cuda" if graphs is None else graphs
        self.graphs = StepGraphs(state) if use_graphs else None

    @property
    def capture_seconds(self) -> float:
        """Time that the capture of CUDA graphs took so far."""
        return self.graphs.capture_seconds if self.graphs else 0.0

    @torch.inference_mode()
    def decode(
        self,
        prompts: list[list[int]],
        uniforms: Sequence[np.ndarray | None] = (None,),
        deliver: Delivery | None = None,
    ) -> list[list[list[int]]]:
        """Token ids of each prompt -> the ids that follow, including the stop token, once for each of `uniforms`.

        None decodes greedily; an array [prompts, new tokens] of numbers in [0, 1) samples.
        ValueError if the batch is too large, NonFiniteError if the logits are NaN or infinite.
        """
        if len(uniforms) > self.shape.candidates:
            raise ValueError(f"{len(uniforms)} candidates of a prompt do not fit: {self.shape.candidates} do")
        self._prefill(prompts)
        self._reset(prompts, uniforms)
        sampled = any(numbers is not None for numbers in uniforms)
        outputs: list[list[list[int]]] = [[[] for _ in prompts] for _ in uniforms]
        delivered = np.zeros(len(prompts), dtype=bool)
        size = self._padded_size(min(len(prompts) * len(uniforms), self.shape.sequences))
        self._refill(size)
        while not delivered.all():
            for _ in range(SYNC_INTERVAL[self.device.type]):
                self._run_step(size, sampled)
            if not self.cache.assigns_in_step:
                self._refill(size)
            lengths = self._final_lengths(len(prompts), len(uniforms))
            finished = np.flatnonzero((lengths > 0).all(1) & ~delivered)
            for prompt, rows in zip(finished, self._generated(finished, len(uniforms)), strict=True):
                answers = [row[:length] for row, length in zip(rows, lengths[prompt], strict=True)]
                for output, answer in zip(outputs, answers, strict=True):
                    output[prompt] = answer
                if deliver is not None:
                    deliver(int(prompt), answers)
            delivered[finished] = True
            unfinished = int((lengths == 0).sum())
            if unfinished and self._padded_size(min(unfinished, size)) < size:
                size = self._compact(size, unfinished)
        return outputs

    def _prefill(self, prompts: list[list[int]]) -> None:
        """Fill the cache with all tokens of the prompts but the last."""
        lengths = [len(prompt) - 1 for prompt in prompts]
        self.cache.begin_prompts(lengths)
        for part in split_by_tokens(lengths, PREFILL_TOKENS[self.device.type]):
            ids = [token for prompt in prompts[part] for token in prompt[:-1]]
            if ids:
                self.cache.begin_prefill(part)
                positions = torch.cat([torch.arange(length) for length in lengths[part]])
                self.forward(torch.tensor(ids, device=self.device), positions.to(self.device), self.cache)

    def _reset(self, prompts: list[list[int]], uniforms: Sequence[np.ndarray | None]) -> None:
        """The state before the first step: all candidates wait, those of the first prompt first."""
        count = len(prompts) * len(uniforms)
        self.prompt_lengths[: len(prompts)] = torch.tensor([len(prompt) - 1 for prompt in prompts])
        self.last_prompt_tokens[: len(prompts)] = torch.tensor([prompt[-1] for prompt in prompts])
        self.candidate_prompts[:count] = torch.arange(len(prompts)).repeat_interleave(len(uniforms))
        greedy = np.full((len(prompts), self.shape.new_tokens), np.nan)
        numbers = np.stack([greedy if numbers is None else numbers for numbers in uniforms], axis=1)
        self.uniforms[:count] = torch.from_numpy(numbers).flatten(0, 1)
        for state in (self.final_lengths, self.first_nonfinite, self.candidates, self.own_lengths):
            state.zero_()
        self.active.fill_(False)
        self.next_candidate.zero_()
        self.candidate_count.fill_(count)

    def _padded_size(self, sequences: int) -> int:
        """Sequences that are computed to decode `sequences`: with graphs, the next size that is captured."""
        return sequences if self.graphs is None else next(size for size in self.graph_sizes if size >= sequences)

    # -- on the device

    def _run_step(self, size: int, sampled: bool) -> None:
        """`_step`, replayed from a graph if there are graphs."""
        if self.graphs is None:
            self._step(size, sampled)
        else:
            self.graphs.run(self._step, size, sampled)

    def _step(self, size: int, sampled: bool) -> None:
        """Generate one token for each of the first `size` sequences, and let ended ones take the next candidates."""
        candidates, own, active = self.candidates[:size], self.own_lengths[:size], self.active[:size]
        prompts = self.candidate_prompts[candidates]
        lengths = self.prompt_lengths[prompts]
        self.cache.begin_decode(prompts, lengths, own + 1, active)
        hidden = self.forward(self.last_tokens[:size], lengths + own, self.cache)
        row_logits = logits(hidden, self.head)
        best, tokens = row_logits.max(-1)  # nan is the largest
        if sampled:
            assert self.sampler is not None
            uniforms = self.uniforms[candidates, own]
            drawn = self.sampler.select(row_logits, best, uniforms.nan_to_num())
            tokens = torch.where(uniforms.isnan(), tokens, drawn)
        written = torch.where(active, candidates, self.spare_candidate)
        self.generated[written, own] = tokens
        self.last_tokens[:size] = tokens
        # an inactive sequence stays within its slots
        own.copy_(torch.where(active, own + 1, own))
        first = active & ~best.isfinite() & (self.first_nonfinite[candidates] == 0)
        self.first_nonfinite[torch.where(first, candidates, self.spare_candidate)] = own
        ended = active & ((tokens == self.stop_id) | (own == self.shape.new_tokens))
        self.final_lengths[torch.where(ended, candidates, self.spare_candidate)] = own
        active &= ~ended
        own.copy_(own.clamp(max=self.shape.new_tokens - 1))
        if self.cache.assigns_in_step:
            self._take_candidates(size)

    def _take_candidates(self, size: int) -> None:
        """Let inactive sequences among the first `size` take the candidates that wait, in order."""
        candidates, own, active = self.candidates[:size], self.own_lengths[:size], self.active[:size]
        # [size] the first inactive sequence would take the first candidate that waits, the second one the second
        offered = self.next_candidate + (~active).cumsum(0) - 1
        takes = ~active & (offered < self.candidate_count)
        candidates.copy_(torch.where(takes, offered, candidates))
        own.masked_fill_(takes, 0)
        first_tokens = self.last_prompt_tokens[self.candidate_prompts[candidates]]
        self.last_tokens[:size] = torch.where(takes, first_tokens, self.last_tokens[:size])
        active |= takes
        self.next_candidate += takes.sum()

    def _refill(self, size: int) -> None:
        """`_take_candidates` outside of a step."""
        self._take_candidates(size)
        if not self.cache.assigns_in_step:
            self.cache.assign(self.candidate_prompts[self.candidates[:size]].tolist())

    # -- between the device and the host

    def _final_lengths(self, prompts: int, candidates: int) -> np.ndarray:
        """[prompts, candidates] tokens of each finished candidate; waits for the device.

        NonFiniteError names the prompt by its index in the batch.
        """
        count = prompts * candidates
        table: np.ndarray = torch.stack([self.final_lengths[:count], self.first_nonfinite[:count]]).cpu().numpy()
        lengths, nonfinite = table
        if nonfinite.any():
            candidate = int(np.flatnonzero(nonfinite)[0])
            raise NonFiniteError(candidate // candidates, int(nonfinite[candidate]))
        shaped: np.ndarray = lengths.reshape(prompts, candidates)
        return shaped

    def _generated(self, prompts: np.ndarray, candidates: int) -> list[list[list[int]]]:
        """[prompts, candidates, new tokens] what was generated for these prompts."""
        if not len(prompts):
            return []
        rows = torch.from_numpy(prompts).to(self.device)[:, None] * candidates
        table = self.generated[rows + torch.arange(candidates, device=self.device)]
        generated: list[list[list[int]]] = table.tolist()
        return generated

    def _compact(self, size: int, unfinished: int) -> int:
        """Move the active sequences to the front. Returns how many are computed from now on."""
        remaining = self.active[:size].nonzero()[:, 0].tolist()
        if len(remaining) < unfinished:  # the others wait for the places of sequences that were ended from outside
            return size
        order = self.cache.compact(remaining)
        index = torch.tensor(order, device=self.device)
        for state in (self.candidates, self.own_lengths, self.last_tokens, self.active):
            state[: len(order)] = state[index]
        self.active[len(order) :] = False
        return self._padded_size(len(order))


def logits(hidden: Tensor, head: Tensor) -> Tensor:
    """[rows, hidden size], [vocabulary, hidden size] -> [rows, vocabulary].

    fp32 on a GPU, where half precision would round neighbouring logits to the same value.
    """
    if hidden.device.type == "cuda" and hidden.dtype != torch.float32:
        return torch.mm(hidden, head.T, out_dtype=torch.float32)
    return F.linear(hidden, head)

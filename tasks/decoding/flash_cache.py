"""KV cache on a GPU in half precision: the sequences that continue a prompt share its keys and values.

Flash attention reads the prompt once for all of them, and each sequence's own tokens apart; the two results are merged
by their log-sum-exp, as flash decoding does (https://pytorch.org/blog/flash-decoding/).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tasks.decoding.kv_cache import CacheShape, DecodeBatch, KVCache, PrefillBatch
from tasks.models.fused_ops import fuse


class FlashCache(KVCache):
    """Prompts lie next to each other without gaps; flash attention reads each one, and each sequence, to its end."""

    spare_sequences = 1  # inactive sequences share its slots once the others have moved to the front

    def __init__(self, config: Any, shape: CacheShape, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(config, shape, shape.new_tokens, device, dtype)
        self.device_prompt_starts = torch.zeros(shape.prompts + 1, device=device, dtype=torch.int32)
        """[prompts + 1]; prompts that the cache does not have are empty."""
        self.own_starts = torch.zeros(shape.sequences + 1, device=device, dtype=torch.int64)
        """[sequences + 1] first slot of each sequence."""
        self.merge: Callable[..., Tensor] = fuse(merge_attention, device)

    def begin_prompts(self, lengths: list[int]) -> None:
        super().begin_prompts(lengths)
        missing = self.shape.prompts - len(lengths)
        padded = self.prompt_starts + self.prompt_starts[-1:] * missing
        self.device_prompt_starts.copy_(torch.tensor(padded))
        self.own_starts.copy_(torch.arange(len(self.own_starts)) * self.own_slots)

    def assign(self, prompts: list[int]) -> None:
        """Nothing to do: `begin_decode` gets the prompts."""

    def compact(self, remaining: list[int]) -> list[int]:
        # still sorted, as flash attention needs cu_seqlens to be
        count = len(remaining)
        self.own_starts[:count] = self.own_starts[torch.tensor(remaining, device=self.device)]
        self.own_starts[count:] = self.shape.sequences * self.own_slots
        return remaining

    def begin_decode(self, prompts: Tensor, prompt_lengths: Tensor, own_lengths: Tensor, active: Tensor) -> None:
        count = len(prompts)
        # queries sorted by prompt, so that those of a prompt are one block; inactive sequences are in none.
        # order: [sequences]; prompt_queries, own_queries, own_starts: cumulated, as flash attention takes them
        sorted_prompts, order = torch.where(active, prompts, self.shape.prompts).sort(stable=True)
        bounds = torch.arange(self.shape.prompts + 1, device=self.device)
        position = torch.empty_like(order).index_copy_(0, order, torch.arange(count, device=self.device))
        shared = {
            "order": order,
            "position": position[:, None],
            "without_prompt": (~active | (prompt_lengths == 0))[:, None],
            "prompt_queries": torch.searchsorted(sorted_prompts, bounds, out_int32=True) * self.groups,
            "own_queries": torch.arange(count + 1, device=self.device, dtype=torch.int32) * self.groups,
            # `lengths` says how far each sequence is read, so this matters only for where one begins
            "own_starts": self.own_starts[: count + 1].to(torch.int32),
        }
        slots = self.own_starts[:count] + own_lengths - 1
        self.batch = DecodeBatch(slots, own_lengths.to(torch.int32), self.own_slots, shared)

    def prefill_attention(self, query: Tensor, keys_values: Tensor, scaling: float, batch: PrefillBatch) -> Tensor:
        # never 1, from which flash attention would conclude that no row is empty
        longest = max(2, *(end - start for start, end in zip(batch.cu_seqlens, batch.cu_seqlens[1:], strict=False)))
        attended, _ = flash_attention_varlen(
            query,
            *self.keys_and_values(keys_values),
            batch.device_cu_seqlens,
            batch.device_cu_seqlens,
            longest,
            longest,
            scaling=scaling,
            causal=True,
            lengths_k=None,
        )
        return attended

    def decode_attention(self, query: Tensor, layer: int, scaling: float, batch: DecodeBatch) -> Tensor:
        shared = batch.shared
        of_prompts, prompts_lse = flash_attention_varlen(
            self._fold(query[shared["order"]]),
            *self.keys_and_values(self.prompt_buffers[layer]),
            shared["prompt_queries"],
            self.device_prompt_starts,
            min(len(query), self.shape.candidates) * self.groups,
            self.shape.longest,
            scaling=scaling,
            causal=False,
            lengths_k=None,
        )
        own, own_lse = flash_attention_varlen(
            self._fold(query),
            *self.keys_and_values(self.own_buffers[layer]),
            shared["own_queries"],
            shared["own_starts"],
            self.groups,
            batch.max_length,
            scaling=scaling,
            causal=False,
            lengths_k=batch.lengths,
        )
        merged = self.merge(
            self._unfold(of_prompts),
            self._unfold(prompts_lse.t()),
            self._unfold(own),
            self._unfold(own_lse.t()),
            shared["position"],
            shared["without_prompt"],
        )
        return merged.transpose(1, 2).flatten(1, 2)

    def _fold(self, query: Tensor) -> Tensor:
        """[sequences, heads, size] -> [sequences * groups, key heads, size]: a position for each query head."""
        folded: Tensor = query.unflatten(1, (self.heads, self.groups)).transpose(1, 2).flatten(0, 1)
        return folded

    def _unfold(self, folded: Tensor) -> Tensor:
        """[sequences * groups, key heads, ...] -> [sequences, groups, key heads, ...]."""
        unfolded: Tensor = folded.unflatten(0, (-1, self.groups))
        return unfolded


def merge_attention(
    of_prompts: Tensor,
    prompts_lse: Tensor,
    own: Tensor,
    own_lse: Tensor,
    position: Tensor,
    without_prompt: Tensor,
) -> Tensor:
    """Attention over a prompt and over a sequence's own tokens -> attention over both.

    Args:
        of_prompts: [sequences, groups, key heads, size], in the order of prompts.
        prompts_lse: [sequences, groups, key heads] log-sum-exp of the scores, in the same order.
        own: [sequences, groups, key heads, size].
        own_lse: [sequences, groups, key heads].
        position: [sequences, 1] where each sequence is in the order of prompts.
        without_prompt: [sequences, 1] bool: sequences that attend to their own tokens only.
    """
    ignored = without_prompt[:, :, None]
    first_lse = prompts_lse[position[:, 0]].masked_fill(ignored, -torch.inf)
    first = of_prompts[position[:, 0]].float().masked_fill(ignored[..., None], 0.0)
    largest = torch.maximum(first_lse, own_lse)
    first_weight, own_weight = (first_lse - largest).exp()[..., None], (own_lse - largest).exp()[..., None]
    return ((first * first_weight + own.float() * own_weight) / (first_weight + own_weight)).to(own.dtype)


def flash_attention_varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    *,
    scaling: float,
    causal: bool,
    lengths_k: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Flash attention of torch over packed rows: [T, heads, size] -> the same shape, and log-sum-exp [heads, T].

    cu_seqlens_q, cu_seqlens_k: [rows + 1] int32, index of the first query and of the first key of each row, sorted.
    lengths_k: [rows] int32, keys that each row has; None: up to the next row.

    torch.nn.attention.varlen calls the same operator, but its signature differs in each of torch 2.10 to 2.13.
    """
    attended, lse, *_ = torch.ops.aten._flash_attention_forward(
        query,
        key,
        value,
        cu_seqlens_q,
        cu_seqlens_k,
        max_seqlen_q,
        max_seqlen_k,
        0.0,
        causal,
        False,
        scale=scaling,
        seqused_k=lengths_k,
    )
    return attended, lse

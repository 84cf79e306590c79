"""KV cache on a GPU in half precision: rows lie next to each other without gaps, and flash attention reads each one."""

import torch
from torch import Tensor

from tasks.decoding.kv_cache import DecodeBatch, KVCache, PrefillBatch


class FlashCache(KVCache):
    """Packs rows without gaps; flash attention reads each row up to its length."""

    def allocate(self, max_lengths: list[int], dummy_length: int) -> list[int]:
        starts = [0]
        for length in max_lengths:
            starts.append(starts[-1] + length)
        if starts[-1] + dummy_length > len(self.keys[0]) or len(max_lengths) >= len(self.starts):
            raise ValueError(
                f"{len(max_lengths)} rows of {starts[-1]} + {dummy_length} tokens do not fit into "
                f"{len(self.keys[0])} slots"
            )
        # padding rows of a captured batch share the last slots; their output is discarded
        self.dummy_slot = starts[-1]
        padded = starts + [self.dummy_slot] * (len(self.starts) - len(starts))
        self.allocated_starts = torch.tensor(padded, device=self.starts.device)
        self.restore()
        return starts[:-1]

    def compact(self, rows: list[int]) -> None:
        index = torch.tensor(rows, device=self.starts.device)
        self.starts[: len(rows)] = self.starts[index]  # still sorted, as flash attention needs cu_seqlens to be
        self.starts[len(rows) :] = self.dummy_slot

    def restore(self) -> None:
        self.starts.copy_(self.allocated_starts)

    def begin_decode(self, lengths: Tensor, max_length: int) -> None:
        rows = len(lengths)
        cu_seqlens_q = torch.arange(rows + 1, device=lengths.device, dtype=torch.int32) * self.groups
        # `lengths` says how far each row is read, so cu_seqlens_k matters only for where a row begins
        cu_seqlens_k = self.starts[: rows + 1].to(torch.int32)
        slots = self.starts[:rows] + lengths - 1
        shared = {"cu_seqlens_q": cu_seqlens_q, "cu_seqlens_k": cu_seqlens_k}
        self.batch = DecodeBatch(slots, lengths, max_length, shared)

    def prefill_attention(
        self, query: Tensor, key: Tensor, value: Tensor, scaling: float, batch: PrefillBatch
    ) -> Tensor:
        longest = max(end - start for start, end in zip(batch.cu_seqlens, batch.cu_seqlens[1:], strict=False))
        cu_seqlens = batch.device_cu_seqlens
        return flash_attention_varlen(
            query, key, value, cu_seqlens, cu_seqlens, longest, longest, scaling=scaling, causal=True, lengths_k=None
        )

    def decode_attention(self, query: Tensor, layer: int, scaling: float, batch: DecodeBatch) -> Tensor:
        # as in PaddedKVCache: [rows, key heads, group, size] -> a query of `group` positions for each key head
        folded = query.unflatten(1, (self.heads, self.groups)).transpose(1, 2).flatten(0, 1)
        attended = flash_attention_varlen(
            folded,
            self.keys[layer],
            self.values[layer],
            batch.shared["cu_seqlens_q"],
            batch.shared["cu_seqlens_k"],
            self.groups,
            batch.max_length,
            scaling=scaling,
            causal=False,
            lengths_k=batch.lengths,
        )
        unfolded: Tensor = attended.unflatten(0, (-1, self.groups)).transpose(1, 2).flatten(1, 2)
        return unfolded


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
) -> Tensor:
    """Flash attention of torch over packed rows: three times [tokens, heads, size] -> the shape of `query`.

    torch.nn.attention.varlen calls the same operator, but its signature differs in each of torch 2.10 to 2.13.
    """
    attended: Tensor = torch.ops.aten._flash_attention_forward(
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
    )[0]
    return attended

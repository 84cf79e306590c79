"""KV cache for rows of different lengths, and attention over it.

A row owns consecutive slots of one long buffer per layer, from its first prompt token to the last token it may
generate. transformers calls `cached_attention` in each layer, under the name ATTENTION_NAME; it stores keys and values
in the cache that the decoder passes along, and attends to what the cache holds. There are two caches: `FlashCache`
(tasks/decoding/flash_cache.py) on a GPU in half precision, and `PaddedKVCache` everywhere else.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface

from tasks.models.loading import head_size

ATTENTION_NAME = "dialogsum_rows"
UNSUPPORTED_ARGUMENTS = ("sliding_window", "softcap", "s_aux", "position_bias")
"""Arguments of other attentions that this one does not implement."""


@dataclass(frozen=True)
class PrefillBatch:
    """One forward pass over complete prompts, one after the other."""

    slots: Tensor
    """[tokens] slot of each token."""
    cu_seqlens: list[int]
    """Index of the first token of each prompt, and the number of tokens."""
    device_cu_seqlens: Tensor
    """The same as int32 on the device."""


@dataclass(frozen=True)
class DecodeBatch:
    """One forward pass over the newest token of each row."""

    slots: Tensor
    """[rows] slot of that token."""
    lengths: Tensor
    """[rows] int32, tokens of the row including this one."""
    max_length: int
    """At least the largest of `lengths`, known without waiting for the device."""
    shared: dict[str, Tensor] = field(default_factory=dict)
    """Tensors that the cache computes once for all layers."""


class KVCache(ABC):
    """Keys and values of at most `rows` rows with at most `slots` tokens together, in every layer."""

    def __init__(self, config: Any, rows: int, slots: int, device: torch.device, dtype: torch.dtype) -> None:
        self.heads: int = config.num_key_value_heads
        self.groups: int = config.num_attention_heads // self.heads
        """Query heads that share a key head."""
        size = head_size(config)
        # zeros, since masked values are still multiplied: 0 * nan is nan
        self.keys = [
            torch.zeros(slots, self.heads, size, device=device, dtype=dtype) for _ in range(config.num_hidden_layers)
        ]
        self.values = [torch.zeros_like(layer) for layer in self.keys]
        self.starts = torch.zeros(rows + 1, device=device, dtype=torch.int64)
        """[rows + 1] first slot of each row."""
        self.batch: PrefillBatch | DecodeBatch | None = None

    @abstractmethod
    def allocate(self, max_lengths: list[int], dummy_length: int) -> list[int]:
        """Give each row slots for `max_lengths` tokens, and the unused rows slots for `dummy_length` tokens.

        Returns the first slot of each row. ValueError if they do not fit.
        """

    @abstractmethod
    def compact(self, rows: list[int]) -> None:
        """Make row `rows[i]` the new row i; `rows` is sorted, the other rows are dropped."""

    @abstractmethod
    def restore(self) -> None:
        """Undo every `compact` since `allocate`, so that the prompts can be continued again."""

    @abstractmethod
    def begin_decode(self, lengths: Tensor, max_length: int) -> None:
        """Prepare the next forward pass: one token of each of the first `len(lengths)` rows."""

    @abstractmethod
    def prefill_attention(
        self, query: Tensor, key: Tensor, value: Tensor, scaling: float, batch: PrefillBatch
    ) -> Tensor:
        """Causal attention in each prompt: three times [tokens, heads, size] -> the shape of `query`."""

    @abstractmethod
    def decode_attention(self, query: Tensor, layer: int, scaling: float, batch: DecodeBatch) -> Tensor:
        """Attention over all tokens of each row: [rows, heads, size] -> the same shape."""

    def begin_prefill(self, starts: list[int], lengths: list[int]) -> None:
        """Prepare the next forward pass: prompts of these lengths, whose slots begin at `starts`."""
        cu_seqlens = [0]
        for length in lengths:
            cu_seqlens.append(cu_seqlens[-1] + length)
        slots = [slot for start, length in zip(starts, lengths, strict=True) for slot in range(start, start + length)]
        device = self.starts.device
        self.batch = PrefillBatch(
            torch.tensor(slots, device=device),
            cu_seqlens,
            torch.tensor(cu_seqlens, device=device, dtype=torch.int32),
        )

    def attention(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Store keys and values and attend: three [batch, heads, length, size] -> [batch, length, heads, size]."""
        batch = self.batch
        assert batch is not None
        batch_rows, _, length, _ = query.shape
        query, key, value = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))
        self.keys[layer].index_copy_(0, batch.slots, key)
        self.values[layer].index_copy_(0, batch.slots, value)
        if isinstance(batch, PrefillBatch):
            attended = self.prefill_attention(query, key, value, scaling, batch)
        else:
            attended = self.decode_attention(query, layer, scaling, batch)
        unflattened: Tensor = attended.unflatten(0, (batch_rows, length))
        return unflattened


def cached_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    kv_cache: KVCache,
    **arguments: Any,
) -> tuple[Tensor, None]:
    """The attention that transformers calls in each layer; the decoder passes `kv_cache` to the model's forward.

    ValueError if the model needs more than causal attention.
    """
    if attention_mask is not None or any(arguments.get(name) is not None for name in UNSUPPORTED_ARGUMENTS):
        raise ValueError("this model needs more than causal attention: it has to be decoded by transformers")
    return kv_cache.attention(module.layer_idx, query, key, value, scaling), None


def register_attention() -> None:
    """Make `cached_attention` known to transformers."""
    AttentionInterface.register(ATTENTION_NAME, cached_attention)


class PaddedKVCache(KVCache):
    """Gives every row as many slots as the largest needs; uses torch's attention, in any precision, on any device."""

    def allocate(self, max_lengths: list[int], dummy_length: int) -> list[int]:
        rows = len(self.starts) - 1
        self.row_slots = len(self.keys[0]) // rows
        if max(*max_lengths, dummy_length) > self.row_slots or len(max_lengths) > rows:
            raise ValueError(
                f"{len(max_lengths)} rows of at most {max(max_lengths)} tokens do not fit into {rows} rows of "
                f"{self.row_slots} slots"
            )
        self.order = list(range(rows))
        starts = range(0, (rows + 1) * self.row_slots, self.row_slots)
        self.starts.copy_(torch.tensor(starts, device=self.starts.device))
        return list(starts[: len(max_lengths)])

    def compact(self, rows: list[int]) -> None:
        remaining = set(rows)
        self._reorder([*rows, *(row for row in range(len(self.order)) if row not in remaining)])

    def restore(self) -> None:
        self._reorder(sorted(range(len(self.order)), key=self.order.__getitem__))

    def _reorder(self, rows: list[int]) -> None:
        """Make row `rows[i]` the new row i; `rows` is a permutation."""
        moved = [new for new, old in enumerate(rows) if new != old]
        if moved:
            part = slice(moved[0], moved[-1] + 1)
            index = torch.tensor(rows[part], device=self.starts.device)
            for layer in (*self.keys, *self.values):
                table = layer.view(-1, self.row_slots, *layer.shape[1:])
                table[part] = table[index]
            self.order = [self.order[row] for row in rows]

    def begin_decode(self, lengths: Tensor, max_length: int) -> None:
        mask = torch.arange(max_length, device=lengths.device) < lengths[:, None]
        slots = self.starts[: len(lengths)] + lengths - 1
        self.batch = DecodeBatch(slots, lengths, max_length, {"mask": mask[:, None, None]})

    def prefill_attention(
        self, query: Tensor, key: Tensor, value: Tensor, scaling: float, batch: PrefillBatch
    ) -> Tensor:
        attended = torch.empty_like(query)
        for start, end in zip(batch.cu_seqlens, batch.cu_seqlens[1:], strict=False):
            q, k, v = (x[start:end].transpose(0, 1)[None] for x in (query, key, value))
            prompt = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=self.groups > 1)
            attended[start:end] = prompt[0].transpose(0, 1)
        return attended

    def decode_attention(self, query: Tensor, layer: int, scaling: float, batch: DecodeBatch) -> Tensor:
        rows = len(query)
        k, v = (
            x.view(-1, self.row_slots, *x.shape[1:])[:rows, : batch.max_length].transpose(1, 2)
            for x in (self.keys[layer], self.values[layer])
        )
        # query heads that share a key head take the place of query positions, so no key is repeated
        q = query.unflatten(1, (self.heads, self.groups))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=batch.shared["mask"], scale=scaling)
        return attended.flatten(1, 2)

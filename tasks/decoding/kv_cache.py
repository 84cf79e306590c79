"""KV cache for prompts and the sequences that continue them, and attention over it.

Several sequences can continue a prompt: the candidates among which one is chosen. The cache holds keys and values of a
prompt's tokens but the last, and for each sequence those of the last prompt token and of what was generated. There are
two caches: `FlashCache` (tasks/decoding/flash_cache.py) on a GPU in half precision, and `PaddedKVCache` everywhere
else. transformers calls `cached_attention` in each layer, under the name ATTENTION_NAME.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface

from tasks.models.loading import head_size

ATTENTION_NAME = "dialogsum_rows"
UNSUPPORTED_ARGUMENTS = ("sliding_window", "softcap", "s_aux", "position_bias")
"""Arguments of other attentions that this one does not implement."""


class CacheShape(NamedTuple):
    """What a cache has room for."""

    prompts: int
    prompt_tokens: int
    """In all prompts together."""
    longest: int
    """In one prompt."""
    candidates: int
    """Sequences that continue one prompt."""
    sequences: int
    """Sequences at once."""
    new_tokens: int
    """Tokens generated for a sequence."""

    def holds(self, other: "CacheShape") -> bool:
        """Whether everything in `other` fits, apart from the sequences at once, which can wait for each other."""
        return all(getattr(other, name) <= getattr(self, name) for name in self._fields if name != "sequences")


@dataclass(frozen=True)
class PrefillBatch:
    """One forward pass over the cached tokens of some prompts, one after the other."""

    slots: slice
    """Of the prompts' slots."""
    cu_seqlens: list[int]
    """Index of the first token of each prompt, and the number of tokens."""
    device_cu_seqlens: Tensor
    """The same as int32 on the device."""


@dataclass(frozen=True)
class DecodeBatch:
    """One forward pass over the newest token of each sequence."""

    slots: Tensor
    """[sequences] slot of that token."""
    lengths: Tensor
    """[sequences] int32, tokens of each that the attention reads, in its own slots."""
    max_length: int
    """At least the largest of `lengths`, known without waiting for the device."""
    shared: dict[str, Tensor] = field(default_factory=dict)
    """Tensors that the cache computes once for all layers."""


class KVCache(ABC):
    """Keys and values of prompts and of the sequences that continue them, in every layer.

    A layer's buffers are [slots, 2 key heads, head size]: the keys, then the values.
    """

    assigns_in_step = True
    """Whether a sequence can take up another prompt without the host: inside of a CUDA graph."""
    spare_sequences = 0
    """Sequences that have slots beyond those of the shape."""

    def __init__(
        self, config: Any, shape: CacheShape, own_slots: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        """`own_slots`: slots of a sequence."""
        self.shape, self.own_slots, self.device = shape, own_slots, device
        self.heads: int = config.num_key_value_heads
        self.groups: int = config.num_attention_heads // self.heads
        """Query heads that share a key head."""

        def buffers(slots: int) -> list[Tensor]:
            size = (slots, 2 * self.heads, head_size(config))
            # zeros, since masked values are still multiplied: 0 * nan is nan
            return [torch.zeros(size, device=device, dtype=dtype) for _ in range(config.num_hidden_layers)]

        self.prompt_buffers = buffers(shape.prompt_tokens)
        self.own_buffers = buffers((shape.sequences + self.spare_sequences) * own_slots)
        self.prompt_starts: list[int] = [0]
        self.batch: PrefillBatch | DecodeBatch | None = None

    def begin_prompts(self, lengths: list[int]) -> None:
        """Make room for prompts with these numbers of cached tokens. ValueError if they do not fit."""
        starts = [0]
        for length in lengths:
            starts.append(starts[-1] + length)
        if len(lengths) > self.shape.prompts or starts[-1] > self.shape.prompt_tokens:
            raise ValueError(
                f"{len(lengths)} prompts of {starts[-1]} tokens do not fit into a cache for {self.shape.prompts} "
                f"prompts of {self.shape.prompt_tokens} tokens"
            )
        if max(lengths, default=0) >= self.shape.longest:
            raise ValueError(f"a prompt of {max(lengths) + 1} tokens does not fit: at most {self.shape.longest} do")
        self.prompt_starts = starts

    def begin_prefill(self, prompts: slice) -> None:
        """Prepare the next forward pass: the cached tokens of these prompts."""
        starts = self.prompt_starts[prompts.start : prompts.stop + 1]
        cu_seqlens = [start - starts[0] for start in starts]
        self.batch = PrefillBatch(
            slice(starts[0], starts[-1]),
            cu_seqlens,
            torch.tensor(cu_seqlens, device=self.device, dtype=torch.int32),
        )

    @abstractmethod
    def begin_decode(self, prompts: Tensor, prompt_lengths: Tensor, own_lengths: Tensor, active: Tensor) -> None:
        """Prepare the next forward pass: the newest token of each of the first `len(prompts)` sequences.

        prompts: [sequences] index of the prompt that each continues.
        prompt_lengths: [sequences] its cached tokens.
        own_lengths: [sequences] tokens of the sequence, the newest one included.
        active: [sequences] bool; what the others attend to does not matter, as long as it is finite.
        """

    @abstractmethod
    def assign(self, prompts: list[int]) -> None:
        """Let sequence i continue prompt `prompts[i]`, where `assigns_in_step` is false."""

    @abstractmethod
    def compact(self, remaining: list[int]) -> list[int]:
        """Drop all other sequences. Returns the remaining ones in their new order, which may not be theirs."""

    @abstractmethod
    def prefill_attention(self, query: Tensor, keys_values: Tensor, scaling: float, batch: PrefillBatch) -> Tensor:
        """Causal attention in each prompt: [T, heads, size] -> the same shape."""

    @abstractmethod
    def decode_attention(self, query: Tensor, layer: int, scaling: float, batch: DecodeBatch) -> Tensor:
        """Attention over all tokens of each sequence: [sequences, heads, size] -> the same shape."""

    def attention(self, layer: int, query: Tensor, keys_values: Tensor, scaling: float) -> Tensor:
        """Store keys and values [T, 2 key heads, size], and attend: query [T, heads, size] -> the same shape."""
        batch = self.batch
        assert batch is not None
        if isinstance(batch, PrefillBatch):
            self.prompt_buffers[layer][batch.slots] = keys_values
            return self.prefill_attention(query, keys_values, scaling, batch)
        self.own_buffers[layer].index_copy_(0, batch.slots, keys_values)
        return self.decode_attention(query, layer, scaling, batch)

    def keys_and_values(self, buffer: Tensor) -> tuple[Tensor, Tensor]:
        """[..., 2 key heads, size] -> keys and values, each [..., key heads, size]."""
        keys, values = buffer.split(self.heads, -2)
        return keys, values


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
    """The attention that transformers calls in each layer, on one sequence of all tokens: [1, heads, T, size].

    ValueError if the model needs more than causal attention.
    """
    if attention_mask is not None or any(arguments.get(name) is not None for name in UNSUPPORTED_ARGUMENTS):
        raise ValueError("this model needs more than causal attention: it has to be decoded by transformers")
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    return kv_cache.attention(module.layer_idx, q, torch.cat([k, v], 1), scaling)[None], None


def register_attention() -> None:
    """Make `cached_attention` known to transformers."""
    AttentionInterface.register(ATTENTION_NAME, cached_attention)


class PaddedKVCache(KVCache):
    """Copies a prompt to the slots of each sequence; uses torch's attention, in any precision, on any device."""

    assigns_in_step = False

    def __init__(self, config: Any, shape: CacheShape, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__(config, shape, shape.longest + shape.new_tokens, device, dtype)
        self.assigned: list[int | None] = [None] * shape.sequences
        """The prompt in the slots of each sequence."""

    def begin_prompts(self, lengths: list[int]) -> None:
        super().begin_prompts(lengths)
        self.assigned = [None] * self.shape.sequences

    def assign(self, prompts: list[int]) -> None:
        for sequence, prompt in enumerate(prompts):
            if self.assigned[sequence] != prompt:
                self.assigned[sequence] = prompt
                source = slice(*self.prompt_starts[prompt : prompt + 2])
                start = sequence * self.own_slots
                for own, cached in zip(self.own_buffers, self.prompt_buffers, strict=True):
                    own[start : start + source.stop - source.start] = cached[source]

    def compact(self, remaining: list[int]) -> list[int]:
        # the last ones fill the gaps, so that as few as possible are copied
        count = len(remaining)
        gaps = sorted(set(range(count)) - set(remaining))
        moved = remaining[count - len(gaps) :]
        for buffer in self.own_buffers:
            table = buffer.unflatten(0, (-1, self.own_slots))
            for gap, sequence in zip(gaps, moved, strict=True):
                table[gap] = table[sequence]
        order = list(range(count))
        for gap, sequence in zip(gaps, moved, strict=True):
            order[gap], self.assigned[gap] = sequence, self.assigned[sequence]
        self.assigned[count:] = [None] * (len(self.assigned) - count)
        return order

    def begin_decode(self, prompts: Tensor, prompt_lengths: Tensor, own_lengths: Tensor, active: Tensor) -> None:
        lengths = prompt_lengths + own_lengths
        max_length = int(lengths.max()) if self.device.type == "cpu" else self.own_slots  # a graph cannot wait for it
        mask = torch.arange(max_length, device=self.device) < lengths[:, None]
        slots = torch.arange(len(lengths), device=self.device) * self.own_slots + lengths - 1
        self.batch = DecodeBatch(slots, lengths.to(torch.int32), max_length, {"mask": mask[:, None, None]})

    def prefill_attention(self, query: Tensor, keys_values: Tensor, scaling: float, batch: PrefillBatch) -> Tensor:
        attended = torch.empty_like(query)
        keys, values = self.keys_and_values(keys_values)
        for start, end in zip(batch.cu_seqlens, batch.cu_seqlens[1:], strict=False):
            q, k, v = (x[start:end].transpose(0, 1)[None] for x in (query, keys, values))
            prompt = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=self.groups > 1)
            attended[start:end] = prompt[0].transpose(0, 1)
        return attended

    def decode_attention(self, query: Tensor, layer: int, scaling: float, batch: DecodeBatch) -> Tensor:
        table = self.own_buffers[layer].unflatten(0, (-1, self.own_slots))[: len(query), : batch.max_length]
        k, v = (x.transpose(1, 2) for x in self.keys_and_values(table))
        # query heads that share a key head take the place of query positions, so no key is repeated
        q = query.unflatten(1, (self.heads, self.groups))
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=batch.shared["mask"], scale=scaling)
        return attended.flatten(1, 2)

"""Keys and values of rows of different lengths, and attention over them: the decoder's half of a model's forward.

A row owns consecutive slots of one long buffer a layer, from its first prompt token to the last token it may say. The
model hands its rotated queries, keys and values to `attend`, which transformers knows as the attention NAME; it stores
them in the cache that the decoder passes along, and answers from there. Two caches: `FlashCache` (tasks/decoding/flash_cache.py)
on a GPU in half precision, and `EvenCache` everywhere else.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface

from tasks.models.loading import head_size

NAME = "dialogsum_rows"
FOREIGN = ("sliding_window", "softcap", "s_aux", "position_bias")
"""What other attentions are told and ours does not do."""


@dataclass(frozen=True)
class Prompts:
    """One forward over whole prompts, one behind the other."""

    slots: Tensor
    """[tokens] where each token goes."""
    edges: list[int]
    """Where prompts begin and end among the tokens."""
    edges_there: Tensor
    """The same, int32, on the device."""


@dataclass(frozen=True)
class Step:
    """One forward over the newest token of each row."""

    slots: Tensor
    """[rows] where the token goes."""
    used: Tensor
    """[rows] int32, tokens of the row, this one included."""
    width: int
    """At least the largest of `used`, known without asking the device."""
    extra: dict[str, Tensor] = field(default_factory=dict)
    """What the cache needs in every layer and makes once."""


class Cache(ABC):
    """Room for `rows` rows of together `slots` tokens, in every layer."""

    def __init__(self, config: Any, rows: int, slots: int, device: torch.device, dtype: torch.dtype) -> None:
        self.heads: int = config.num_key_value_heads
        self.groups: int = config.num_attention_heads // self.heads
        """Query heads that share a key head."""
        size = head_size(config)
        # zeros, since what is masked is still multiplied: 0 * nan is nan
        self.keys = [
            torch.zeros(slots, self.heads, size, device=device, dtype=dtype) for _ in range(config.num_hidden_layers)
        ]
        self.values = [torch.zeros_like(layer) for layer in self.keys]
        self.starts = torch.zeros(rows + 1, device=device, dtype=torch.int64)
        """[rows + 1] first slot of each row."""
        self.now: Prompts | Step | None = None

    @abstractmethod
    def place(self, rooms: list[int], spare: int) -> list[int]:
        """Give each row slots for `rooms` tokens, and all rows beyond them slots for `spare` that are nobody's.

        Returns the first slot of each row. ValueError if they do not fit.
        """

    @abstractmethod
    def keep(self, rows: list[int]) -> None:
        """Make row `rows[i]` the new row i; `rows` rises, the others are dropped."""

    @abstractmethod
    def restore(self) -> None:
        """Undo every `keep` since `place`: the prompts are there again."""

    @abstractmethod
    def begin_step(self, used: Tensor, width: int) -> None:
        """The next forward is over one token of each of the first `len(used)` rows."""

    @abstractmethod
    def prompts(self, query: Tensor, key: Tensor, value: Tensor, scaling: float, now: Prompts) -> Tensor:
        """[tokens, heads, size] each of the three, causal in each prompt -> the same shape as `query`."""

    @abstractmethod
    def step(self, query: Tensor, layer: int, scaling: float, now: Step) -> Tensor:
        """[rows, heads, size] over all tokens of the row -> the same shape."""

    def begin_prompts(self, starts: list[int], lengths: list[int]) -> None:
        """The next forward is over prompts of these lengths, in slots from `starts` on."""
        edges = [0]
        for length in lengths:
            edges.append(edges[-1] + length)
        slots = [slot for start, length in zip(starts, lengths, strict=True) for slot in range(start, start + length)]
        device = self.starts.device
        self.now = Prompts(
            torch.tensor(slots, device=device), edges, torch.tensor(edges, device=device, dtype=torch.int32)
        )

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """[batch, heads, length, size] each of the three -> [batch, length, heads, size]."""
        now = self.now
        assert now is not None
        batch, _, length, _ = query.shape
        query, key, value = (x.transpose(1, 2).flatten(0, 1) for x in (query, key, value))
        self.keys[layer].index_copy_(0, now.slots, key)
        self.values[layer].index_copy_(0, now.slots, value)
        if isinstance(now, Prompts):
            out = self.prompts(query, key, value, scaling, now)
        else:
            out = self.step(query, layer, scaling, now)
        answer: Tensor = out.unflatten(0, (batch, length))
        return answer


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *, scaling: float,
    rows: Cache, **others: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """What transformers calls in every layer; `rows` is what the decoder gave to the model's forward."""
    if attention_mask is not None or any(others.get(name) is not None for name in FOREIGN):
        raise ValueError("this model wants more of attention than to be causal: it has to be decoded by transformers")
    return rows.attend(module.layer_idx, query, key, value, scaling), None


AttentionInterface.register(NAME, attend)


class EvenCache(Cache):
    """Every row has as many slots as the largest; torch's own attention, in any precision, on any device."""

    def place(self, rooms: list[int], spare: int) -> list[int]:
        rows = len(self.starts) - 1
        self.room = len(self.keys[0]) // rows
        if max(*rooms, spare) > self.room or len(rooms) > rows:
            raise ValueError(f"{len(rooms)} rows of at most {max(rooms)} tokens in {rows} rooms for {self.room}")
        self.order = list(range(rows))
        starts = range(0, (rows + 1) * self.room, self.room)
        self.starts.copy_(torch.tensor(starts, device=self.starts.device))
        return list(starts[: len(rooms)])

    def keep(self, rows: list[int]) -> None:
        kept = set(rows)
        self._move([*rows, *(row for row in range(len(self.order)) if row not in kept)])

    def restore(self) -> None:
        self._move(sorted(range(len(self.order)), key=self.order.__getitem__))

    def _move(self, rows: list[int]) -> None:
        """Make row `rows[i]` the new row i; every row goes somewhere."""
        moved = [new for new, old in enumerate(rows) if new != old]
        if moved:
            part = slice(moved[0], moved[-1] + 1)
            index = torch.tensor(rows[part], device=self.starts.device)
            for layer in (*self.keys, *self.values):
                table = layer.view(-1, self.room, *layer.shape[1:])
                table[part] = table[index]
            self.order = [self.order[row] for row in rows]

    def begin_step(self, used: Tensor, width: int) -> None:
        mask = torch.arange(width, device=used.device) < used[:, None]
        slots = self.starts[: len(used)] + used - 1
        self.now = Step(slots, used, width, {"mask": mask[:, None, None]})

    def prompts(self, query: Tensor, key: Tensor, value: Tensor, scaling: float, now: Prompts) -> Tensor:
        out = torch.empty_like(query)
        for start, end in zip(now.edges, now.edges[1:], strict=False):
            q, k, v = (x[start:end].transpose(0, 1)[None] for x in (query, key, value))
            said = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=self.groups > 1)
            out[start:end] = said[0].transpose(0, 1)
        return out

    def step(self, query: Tensor, layer: int, scaling: float, now: Step) -> Tensor:
        rows = len(query)
        k, v = (
            x.view(-1, self.room, *x.shape[1:])[:rows, : now.width].transpose(1, 2)
            for x in (self.keys[layer], self.values[layer])
        )
        # the query heads that share a key head stand where queries of several positions would: nothing is repeated
        q = query.unflatten(1, (self.heads, self.groups))
        said = F.scaled_dot_product_attention(q, k, v, attn_mask=now.extra["mask"], scale=scaling)
        return said.flatten(1, 2)

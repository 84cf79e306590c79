"""Keys and values on a GPU in half precision: rows follow each other without gaps, and a row costs what it is long."""

import torch
from torch import Tensor

from tasks.decoding.kv_cache import Cache, Prompts, Step


class FlashCache(Cache):
    """Rows follow each other without gaps; flash attention reads each as far as it is long."""

    def place(self, rooms: list[int], spare: int) -> list[int]:
        starts = [0]
        for room in rooms:
            starts.append(starts[-1] + room)
        if starts[-1] + spare > len(self.keys[0]) or len(rooms) >= len(self.starts):
            raise ValueError(f"{len(rooms)} rows of {starts[-1]} + {spare} tokens in room for {len(self.keys[0])}")
        # rows that only fill a graph's batch share the last slots: what they say is nobody's
        self.nobody = starts[-1]
        filled = starts + [self.nobody] * (len(self.starts) - len(starts))
        self.placed = torch.tensor(filled, device=self.starts.device)
        self.restore()
        return starts[:-1]

    def keep(self, rows: list[int]) -> None:
        index = torch.tensor(rows, device=self.starts.device)
        self.starts[: len(rows)] = self.starts[index]  # still rising, as flash attention wants its edges
        self.starts[len(rows) :] = self.nobody

    def restore(self) -> None:
        self.starts.copy_(self.placed)

    def begin_step(self, used: Tensor, width: int) -> None:
        rows = len(used)
        query_edges = torch.arange(rows + 1, device=used.device, dtype=torch.int32) * self.groups
        # `used` says how long a row is, so only the first slots are read from the edges
        key_edges = self.starts[: rows + 1].to(torch.int32)
        slots = self.starts[:rows] + used - 1
        self.now = Step(slots, used, width, {"query_edges": query_edges, "key_edges": key_edges})

    def prompts(self, query: Tensor, key: Tensor, value: Tensor, scaling: float, now: Prompts) -> Tensor:
        longest = max(end - start for start, end in zip(now.edges, now.edges[1:], strict=False))
        edges = now.edges_there
        return flash(query, key, value, edges, edges, longest, longest, scaling=scaling, causal=True, used=None)

    def step(self, query: Tensor, layer: int, scaling: float, now: Step) -> Tensor:
        # as in EvenCache.step: [rows, key heads, group, size] -> a query of `group` positions for each key head
        folded = query.unflatten(1, (self.heads, self.groups)).transpose(1, 2).flatten(0, 1)
        out = flash(
            folded, self.keys[layer], self.values[layer], now.extra["query_edges"], now.extra["key_edges"],
            self.groups, now.width, scaling=scaling, causal=False, used=now.used,
        )  # fmt: skip
        answer: Tensor = out.unflatten(0, (-1, self.groups)).transpose(1, 2).flatten(1, 2)
        return answer


def flash(
    query: Tensor, key: Tensor, value: Tensor, query_edges: Tensor, key_edges: Tensor, longest_query: int,
    longest_key: int, *, scaling: float, causal: bool, used: Tensor | None,
) -> Tensor:  # fmt: skip
    """Torch's flash attention over rows packed behind each other: [tokens, heads, size] -> the shape of `query`.

    torch.nn.attention.varlen calls the same operator, but its signature differs in each of torch 2.10 to 2.13.
    """
    said: Tensor = torch.ops.aten._flash_attention_forward(
        query, key, value, query_edges, key_edges, longest_query, longest_key, 0.0, causal, False,
        scale=scaling, seqused_k=used,
    )[0]  # fmt: skip
    return said

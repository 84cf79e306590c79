"""Packing: rows of different lengths as one long sequence without padding, and groups of rows with balanced tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch

IGNORED = -100
"""The label of a token that does not count for the loss."""

Row = tuple[Sequence[int], Sequence[int]]
"""Token ids of a row, and as many labels."""


@dataclass(frozen=True)
class Pack:
    """Some rows one after the other: T tokens, of which L predict a token with a label."""

    ids: torch.Tensor
    """[T] int64."""
    positions: torch.Tensor
    """[T] int64, from 0 in each row."""
    cu_seqlens: torch.Tensor
    """[rows + 1] int32: index of the first token of each row, and T."""
    target_positions: torch.Tensor
    """[L] int64: the tokens whose next token has a label. The last token of a row predicts nothing."""
    labels: torch.Tensor
    """[L] int64: that next token."""
    lengths: tuple[int, ...]
    """Tokens of each row, known without waiting for the device."""

    def to(self, device: torch.device) -> "Pack":
        """A copy on `device`; the copying is queued, not waited for."""
        values: dict[str, Any] = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                staged = value.pin_memory() if device.type == "cuda" else value
                values[name] = staged.to(device, non_blocking=True)
        return Pack(**values)


def pack(rows: Sequence[Row]) -> Pack:
    """Rows -> one sequence, in the given order."""
    lengths = tuple(len(ids) for ids, _ in rows)
    labels = torch.tensor([label for _, row in rows for label in [*row[1:], IGNORED]])
    target_positions = (labels != IGNORED).nonzero().flatten()
    return Pack(
        ids=torch.tensor([token for ids, _ in rows for token in ids]),
        positions=torch.cat([torch.arange(length) for length in lengths]),
        cu_seqlens=torch.tensor([0, *lengths]).cumsum(0).int(),
        target_positions=target_positions,
        labels=labels[target_positions],
        lengths=lengths,
    )


def target_count(row: Row) -> int:
    """Number of tokens of a row that count for the loss."""
    return sum(label != IGNORED for label in row[1][1:])


def balance_by_tokens(lengths: Sequence[int], count: int) -> list[list[int]]:
    """Indexes of rows in `count` groups with nearly equal numbers of tokens; groups may be empty. Deterministic."""
    groups: list[list[int]] = [[] for _ in range(count)]
    tokens = [0] * count
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        smallest = tokens.index(min(tokens))
        groups[smallest].append(index)
        tokens[smallest] += lengths[index]
    return groups


def micro_batches(lengths: Sequence[int], max_tokens: int, max_rows: int | None = None) -> list[list[int]]:
    """Indexes of rows in as few groups as possible with at most `max_tokens` and `max_rows`; a longer row is alone."""
    if not lengths:
        return []
    count = max(1, -(-sum(lengths) // max_tokens), -(-len(lengths) // (max_rows or len(lengths))))
    while True:
        groups = [group for group in balance_by_tokens(lengths, count) if group]
        fits = all(
            len(group) == 1 or (sum(lengths[i] for i in group) <= max_tokens and len(group) <= (max_rows or len(group)))
            for group in groups
        )
        if fits:
            return groups
        count += 1


@dataclass(frozen=True)
class LabelledRows:
    """Rows as token ids and labels, with their names."""

    rows: Sequence[Row]
    ids: Sequence[str]
    lengths: list[int] = field(init=False)
    target_counts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lengths", [len(ids) for ids, _ in self.rows])
        object.__setattr__(self, "target_counts", [target_count(row) for row in self.rows])

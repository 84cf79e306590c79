"""Rows of different lengths as one long sequence without padding, and how rows are shared out by their tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import torch

IGNORED = -100
"""The label of a token that no loss is taken on."""

Row = tuple[Sequence[int], Sequence[int]]
"""Token ids of a row and as many labels."""


@dataclass(frozen=True)
class Pack:
    """Some rows end to end: T tokens, of which L predict a labelled one."""

    ids: torch.Tensor
    """[T] int64."""
    positions: torch.Tensor
    """[T] int64, from 0 in each row."""
    bounds: torch.Tensor
    """[rows + 1] int32: where each row begins, and T."""
    picked: torch.Tensor
    """[L] int64: the tokens whose next one has a label. The last token of a row predicts nothing."""
    labels: torch.Tensor
    """[L] int64: that next one."""
    lengths: tuple[int, ...]
    """Tokens of each row, known without asking the device."""

    def to(self, device: torch.device) -> "Pack":
        """The same on `device`; the copy is not waited for."""
        moved: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self)}
        for name, value in moved.items():
            if isinstance(value, torch.Tensor):
                staged = value.pin_memory() if device.type == "cuda" else value
                moved[name] = staged.to(device, non_blocking=True)
        return Pack(**moved)


def pack(rows: Sequence[Row]) -> Pack:
    """Rows -> one sequence, in the order given."""
    lengths = tuple(len(ids) for ids, _ in rows)
    labels = torch.tensor([label for _, row in rows for label in [*row[1:], IGNORED]])
    picked = (labels != IGNORED).nonzero().flatten()
    return Pack(
        ids=torch.tensor([token for ids, _ in rows for token in ids]),
        positions=torch.cat([torch.arange(length) for length in lengths]),
        bounds=torch.tensor([0, *lengths]).cumsum(0).int(),
        picked=picked,
        labels=labels[picked],
        lengths=lengths,
    )


def targets(row: Row) -> int:
    """How many tokens of a row the loss is taken on."""
    return sum(label != IGNORED for label in row[1][1:])


def shares(lengths: Sequence[int], count: int) -> list[list[int]]:
    """Indexes of rows in `count` groups of nearly equal tokens; groups may be empty. The same input, the same groups."""
    groups: list[list[int]] = [[] for _ in range(count)]
    tokens = [0] * count
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        least = tokens.index(min(tokens))
        groups[least].append(index)
        tokens[least] += lengths[index]
    return groups


def micro_batches(lengths: Sequence[int], most_tokens: int, most_rows: int | None = None) -> list[list[int]]:
    """Indexes of rows in as few groups as keep each within `most_tokens` and `most_rows`; a longer row is alone."""
    if not lengths:
        return []
    count = max(1, -(-sum(lengths) // most_tokens), -(-len(lengths) // (most_rows or len(lengths))))
    while True:
        groups = [group for group in shares(lengths, count) if group]
        fits = all(
            len(group) == 1
            or (sum(lengths[i] for i in group) <= most_tokens and len(group) <= (most_rows or len(group)))
            for group in groups
        )
        if fits:
            return groups
        count += 1


@dataclass(frozen=True)
class Rows:
    """Encoded rows with their names."""

    rows: Sequence[Row]
    ids: Sequence[str]
    lengths: list[int] = field(init=False)
    targets: list[int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lengths", [len(ids) for ids, _ in self.rows])
        object.__setattr__(self, "targets", [targets(row) for row in self.rows])

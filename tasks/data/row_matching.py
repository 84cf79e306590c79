"""Matches the rows of a split with those of its earlier version, by digests of their texts."""

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tasks.data.dialogue_row import dialogue_rows


class RowDigest(NamedTuple):
    """A row without its texts."""

    position: int
    id: str
    dialogue: bytes
    references: bytes
    topics: bytes

    @property
    def text(self) -> tuple[bytes, bytes]:
        return self.dialogue, self.references


RowPair = tuple[RowDigest, RowDigest]
"""A row before and after."""


@dataclass(frozen=True)
class MatchedRows:
    """The rows of two versions of a split."""

    pairs: Sequence[RowPair]
    """In the order of the later version."""
    removed: Sequence[RowDigest]
    added: Sequence[RowDigest]

    @property
    def edited(self) -> list[RowPair]:
        """Pairs with another dialogue or other references."""
        return [(old, new) for old, new in self.pairs if old.text != new.text]

    @property
    def unedited(self) -> list[RowPair]:
        """Pairs with the same dialogue and references."""
        return [(old, new) for old, new in self.pairs if old.text == new.text]


_KEYS: Sequence[Callable[[RowDigest], Hashable]] = (
    lambda row: (row.id, row.text),
    lambda row: row.text,
    lambda row: (row.id, row.dialogue),
    lambda row: row.dialogue,
    lambda row: row.id,
)
"""What two rows have in common, the strongest first. The texts come before the id: ids are often numbers of rows, and
one row inserted at the top gives each id another row."""


def row_digests(dataset: Path, split: str) -> list[RowDigest]:
    """The rows of a split, about 300 bytes each."""
    return [
        RowDigest(i, row.id, *(_digest(texts) for texts in ([row.dialogue], row.references, row.topics)))
        for i, row in enumerate(dialogue_rows(dataset, split))
    ]


def match_rows(before: Sequence[RowDigest], after: Sequence[RowDigest]) -> MatchedRows:
    """Pair each row with one of its earlier version, if there is one; no row is in two pairs."""
    pairs: list[RowPair] = []
    for key in _KEYS:
        waiting: dict[Hashable, deque[RowDigest]] = defaultdict(deque)
        for row in before:
            waiting[key(row)].append(row)
        unmatched = []
        for row in after:
            if candidates := waiting.get(key(row)):
                pairs.append((candidates.popleft(), row))
            else:
                unmatched.append(row)
        before, after = sorted(row for rows in waiting.values() for row in rows), unmatched
    return MatchedRows(sorted(pairs, key=lambda pair: pair[1].position), removed=before, added=after)


def _digest(texts: Iterable[str]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8) + encoded)
    return digest.digest()

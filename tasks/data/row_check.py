"""What a check of training rows is: it sees every row once, then reports its findings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from artifacts.check import Check
from tasks.data.dialogue_row import DialogueRow

EXAMPLES = 3
"""Rows that a finding names."""


@dataclass(frozen=True)
class Finding:
    """What a check was looking for, and where it was found."""

    name: str
    """Plural noun: `short dialogues`."""
    what: str
    """What the rows have: `fewer than 5 words`."""
    rows: Sequence[str]
    """Ids, with a remark where one is needed; empty if nothing was found."""
    of: str
    """Among what: `40 training dialogues`."""
    advice: str
    """What training on them leads to, and what to do."""

    def note(self) -> Check:
        """`fewer than 5 words in 2 of 40 training dialogues (train_3, train_7): …`."""
        return Check(
            self.name, "note", f"{self.what} in {len(self.rows)} of {self.of} ({examples(self.rows)}): {self.advice}"
        )


class RowCheck(Protocol):
    """A check of the training rows."""

    def add(self, row: DialogueRow) -> None:
        """Look at one training row."""
        ...

    def findings(self) -> list[Finding]:
        """What was looked for in the rows, found or not."""
        ...


def examples(rows: Sequence[str]) -> str:
    """`train_1, train_2, train_3, …`."""
    return ", ".join([*rows[:EXAMPLES], *(["…"] if len(rows) > EXAMPLES else [])])

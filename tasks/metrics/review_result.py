"""review.json as records: the win rate of a candidate by the votes of people, and what it is based on."""

import json
from pathlib import Path
from typing import Any, Self

from artifacts.record import Record
from tasks.metrics.agreement import Agreement
from tasks.metrics.percentages import percent
from tasks.metrics.score_table import System
from tasks.metrics.scores import Interval


class ReviewerVotes(Record):
    """How many of the dialogues on the page a reviewer voted on."""

    reviewer: str
    votes: int
    dialogues: int
    """Dialogues on the page."""


class MeasureDisagreement(Record):
    """Where a measure prefers another summary than people do."""

    measure: str
    """ROUGE type; compared is F1 under the headline protocol."""
    preferred: int
    """Dialogues of which people prefer one summary."""
    opposite: int
    """Of these, dialogues of which the measure prefers the other summary."""
    equal: int
    """Of these, dialogues whose summaries have equal scores."""
    strongest: tuple[str, ...]
    """Ids of the opposite dialogues with the largest differences in the measure."""


class Review(Record):
    """The content of a review artifact."""

    opponent: System
    """The system that the candidate is compared with."""
    win_rate: float
    """(wins + half of the ties) / votes of each dialogue, mean over dialogues: 0 to 1."""
    interval: Interval
    """95 % interval of `win_rate`, 0 to 1."""
    interval_method: str
    dialogues: int
    """Dialogues with a vote."""
    without_vote: int
    """Dialogues whose summaries differ, without a vote: not on the page, or not reached."""
    identical: int
    """Dialogues that are left out because both summaries are the same."""
    votes: int
    wins: int
    losses: int
    ties: int
    reviewers: tuple[ReviewerVotes, ...]
    agreement: Agreement
    """Agreement of the reviewers on win, loss or tie of the candidate."""
    disagreements: tuple[MeasureDisagreement, ...]

    @classmethod
    def load(cls, payload: Path) -> Self:
        """Read review.json from the payload folder of a review artifact."""
        return cls.model_validate_json((payload / "review.json").read_text(encoding="utf-8"))

    def save(self, folder: Path) -> None:
        """Write review.json; the bytes depend on the content alone."""
        (folder / "review.json").write_text(json.dumps(self.as_json(), indent=1, sort_keys=True) + "\n")

    def as_json(self) -> dict[str, Any]:
        """The content of review.json, with lists for tuples."""
        content: dict[str, Any] = self.model_dump(mode="json")
        return content

    @property
    def rate_and_interval(self) -> str:
        """`62.5 % (51.3 % to 73.8 %)`."""
        low, high = self.interval
        return f"{percent(self.win_rate)} ({percent(low)} to {percent(high)})"

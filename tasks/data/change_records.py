"""Records of what changed between two versions of a dataset; their JSON is in `run --json`."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import Field

from artifacts.record import Record

CHANGE_KINDS = ("added", "removed", "edited", "renumbered")
"""Fields of SplitChanges that a report has in a table, with examples."""
TRAINING_MEASURES = {
    "dialogue_words": "words per dialogue",
    "reference_words": "words per reference",
    "speakers": "speakers per dialogue",
}
"""Field of TrainingProfile -> its label in the report."""


class SplitChanges(Record):
    """What changed in the rows of one split."""

    rows_before: int
    rows_after: int
    added: int = 0
    removed: int = 0
    edited: int = 0
    """The same dialogue with other references, or the same id with another dialogue."""
    edited_dialogues: int = 0
    edited_references: int = 0
    """Parts of `edited`; a row may be in both."""
    renumbered: int = 0
    """The same dialogue and references under another id."""
    other_topics: int = 0
    """Rows with other topics, also of those that are edited or renumbered."""
    reordered: bool = False
    """Whether the rows that were kept come in another order."""
    examples: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """added, removed, edited, renumbered -> a few ids; of removed rows the earlier ones."""

    @property
    def changed(self) -> bool:
        return self.reordered or any((self.added, self.removed, self.edited, self.renumbered, self.other_topics))


class Distribution(Record):
    """Of a number that each row has."""

    mean: float
    median: float
    percentile95: float


class TrainingProfile(Record):
    """Lengths and speakers of the training dialogues; words as `tasks.tokenization.length_in_words` counts them."""

    dialogue_words: Distribution
    reference_words: Distribution
    speakers: Distribution
    """Speakers per dialogue."""


class TopicShare(Record):
    """How many training dialogues have a topic."""

    topic: str
    before: float
    """Share of the earlier training dialogues, 0 to 1."""
    after: float


class TopicChanges(Record):
    """Topics of the training dialogues, without differences of case and spacing."""

    new: int = 0
    vanished: int = 0
    most_frequent_new: tuple[str, ...] = ()
    most_frequent_vanished: tuple[str, ...] = ()
    shares: tuple[TopicShare, ...] = ()
    """Those whose share changed most, the largest change first."""


class UnseenWords(Record):
    """Words of added and edited training rows that no earlier training dialogue or reference has."""

    words: int = 0
    """All words of these rows."""
    unseen: int = 0
    most_frequent: dict[str, int] = Field(default_factory=dict)

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.unseen / self.words if self.words else 0.0


class DataChanges(Record):
    """What changed between two versions of a dataset."""

    splits: dict[str, SplitChanges]
    before: TrainingProfile
    after: TrainingProfile
    topics: TopicChanges
    unseen_words: UnseenWords

    @property
    def changed(self) -> bool:
        return any(split.changed for split in self.splits.values())


class DataComparison(Record):
    """The dataset of a run, compared with the one that the champion was trained on."""

    champion: str
    """Id of its adapter."""
    sentence: str
    """The result in one sentence, without text from the data."""
    changes: DataChanges | None = None
    """None if nothing changed or nothing could be compared."""

    @classmethod
    def of_report(cls, facts: Mapping[str, Any]) -> Self | None:
        """The comparison in the facts of a report; None if there was no champion."""
        return cls.model_validate(facts["data"]) if facts.get("data") else None

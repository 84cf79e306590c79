"""One row of a dataset, with the words, turns and speakers in it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from artifacts.schemas import DATASET, rows_of
from tasks.metrics.slices import SPEAKER_LABEL
from tasks.tokenization import words


@dataclass(frozen=True)
class DialogueRow:
    """A dialogue with its references, as `artifacts.schemas.DATASET` has them."""

    id: str
    dialogue: str
    references: Sequence[str]
    topics: Sequence[str]

    @cached_property
    def speakers(self) -> set[str]:
        """The labels at the start of its lines."""
        return set(SPEAKER_LABEL.findall(self.dialogue))

    @property
    def spoken(self) -> str:
        """The dialogue without these labels."""
        return without_labels(self.dialogue)

    @cached_property
    def spoken_words(self) -> list[str]:
        """The words in small letters, without labels and punctuation: the same where only the layout differs."""
        return spoken_words(self.dialogue)

    @property
    def distinct_topics(self) -> set[str]:
        """Topics without differences of case and spacing."""
        return {topic.strip().casefold() for topic in self.topics if topic.strip()}


def without_labels(text: str) -> str:
    """A text without the speakers' labels at the start of its lines."""
    return SPEAKER_LABEL.sub(" ", text)


def spoken_words(text: str) -> list[str]:
    """The words of a text without the speakers' labels."""
    return words(without_labels(text))


def dialogue_rows(dataset: Path, split: str) -> Iterator[DialogueRow]:
    """The rows of a split, read in batches. dataset: payload of an artifact of download."""
    for row in rows_of(dataset / f"{split}.parquet", DATASET):
        yield DialogueRow(**row)

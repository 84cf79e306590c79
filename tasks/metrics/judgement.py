"""A judge's verdict on one summary, as judgements.parquet has it."""

from enum import StrEnum
from pathlib import Path

from artifacts.record import Record
from artifacts.schemas import JUDGEMENTS, read_table


class Kind(StrEnum):
    """Whose summary it is."""

    PREDICTION = "prediction"
    REFERENCE = "reference"
    """The first human reference: the upper end of the judge's scale."""
    OTHER_DIALOGUE = "reference of another dialogue"
    """The lower end."""


class Judgement(Record):
    """The verdict on one summary."""

    id: str
    """Of the dialogue."""
    kind: Kind
    score: float | None
    """0 to 1; None if the judge's answer could not be read."""
    lowest: float | None = None
    """Score of the least supported sentence; None if the judge scores whole summaries."""
    unsupported: tuple[str, ...] = ()
    """Sentences with a low score, or the statements that the judge names."""
    answer: str | None = None
    """Of an endpoint, its beginning."""

    @property
    def key(self) -> tuple[str, str]:
        """Which text it is about."""
        return self.id, self.kind


def read_judgements(payload: Path) -> dict[Kind, dict[str, Judgement]]:
    """Kind of text -> dialogue id -> verdict, from the payload folder of a judge artifact."""
    found: dict[Kind, dict[str, Judgement]] = {}
    for judgement in map(Judgement.model_validate, read_table(payload / "judgements.parquet", JUDGEMENTS)):
        found.setdefault(judgement.kind, {})[judgement.id] = judgement
    return found

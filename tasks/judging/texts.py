"""What a judge reads: summaries of a model, human references, and references of other dialogues."""

from collections.abc import Sequence
from typing import Any

from artifacts.record import Record
from tasks.metrics.judgement import Judgement, Kind


class JudgedText(Record):
    """A dialogue, and a summary that is judged."""

    id: str
    """Of the dialogue."""
    kind: Kind
    dialogue: str
    summary: str

    @property
    def key(self) -> tuple[str, str]:
        """That of its judgement."""
        return self.id, self.kind


def of_predictions(rows: Sequence[dict[str, Any]], predictions: Sequence[dict[str, Any]]) -> list[JudgedText]:
    """The predictions with their dialogues. rows: of the dataset (DATASET), among them those of the predictions."""
    dialogues = {row["id"]: row["dialogue"] for row in rows}
    return [
        JudgedText(id=row["id"], kind=Kind.PREDICTION, dialogue=dialogues[row["id"]], summary=row["prediction"])
        for row in predictions
    ]


def of_references(rows: Sequence[dict[str, Any]]) -> list[JudgedText]:
    """The first reference of each dialogue, and with each dialogue that of the one half the rows further on."""
    texts = []
    for i, row in enumerate(rows):
        texts.append(
            JudgedText(id=row["id"], kind=Kind.REFERENCE, dialogue=row["dialogue"], summary=row["references"][0])
        )
        other = rows[(i + max(len(rows) // 2, 1)) % len(rows)]
        if other["dialogue"] != row["dialogue"]:
            summary = other["references"][0]
            texts.append(JudgedText(id=row["id"], kind=Kind.OTHER_DIALOGUE, dialogue=row["dialogue"], summary=summary))
    return texts


def empty_summary(text: JudgedText) -> Judgement | None:
    """Score 0 for a summary without a word, which says nothing of the dialogue; None for any other."""
    if text.summary.strip():
        return None
    return Judgement(id=text.id, kind=text.kind, score=0.0)

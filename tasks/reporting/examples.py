"""The dialogues that a report shows: those that changed most, then others evenly spread over the test rows."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from artifacts.schemas import DATASET, PREDICTIONS, read_table
from tasks.execution.stage import Artifact
from tasks.metrics.score_table import COMPARISON_SYSTEMS, HEADLINE_TYPE, MODELS, System
from tasks.reporting.escaping import visible

MOST_CHANGED = 5
"""Dialogues shown first, of those that improved and of those that regressed."""
MAX_BYTES = 2_300_000
"""Of all texts together, as they are in the page: a report stays below 3 MB."""
CARD_BYTES = 1500
"""Markup of one dialogue, about."""
MAX_COMPARED_WORDS = 400
"""Longer texts are not compared, because the time grows with the square of their length."""


@dataclass(frozen=True)
class ExampleOutput:
    """The summary of one dialogue by one system."""

    prediction: str
    tokens: int
    stop: str
    rouge1: float
    """F1 x 100."""
    highlighted: Markup
    """The prediction, with the words in <mark> that the compared summary does not have."""
    new_name: bool
    """It names someone who is not in the dialogue."""
    new_number: bool
    """It has a number that is not in the dialogue."""
    unsupported: tuple[str, ...]
    """What the judge finds unsupported by the dialogue; empty without a judge."""


@dataclass(frozen=True)
class Example:
    """One dialogue with its references and the summary of every system."""

    id: str
    dialogue: str
    topics: list[str]
    references: list[str]
    outputs: dict[str, ExampleOutput]
    change: float | None
    """ROUGE-1 x 100 of the tuned model minus the compared one; None without a tuned model."""

    @property
    def flags(self) -> list[str]:
        """What the report can filter by; about the summary of the last system."""
        last = list(self.outputs.values())[-1]
        flags = {
            "improved": (self.change or 0) > 0,
            "regressed": (self.change or 0) < 0,
            "limit": last.stop == "limit",
            "empty": not last.prediction.strip(),
            "new-name": last.new_name,
            "new-number": last.new_number,
            "unsupported": bool(last.unsupported),
        }
        return [flag for flag, holds in flags.items() if holds]

    @property
    def size(self) -> int:
        """Bytes in the page, about."""
        texts = [escape(visible(text)) for text in (self.dialogue, *self.references, *self.topics)]
        for output in self.outputs.values():
            texts += [output.highlighted, *(escape(visible(text)) for text in output.unsupported)]
        return CARD_BYTES + sum(len(text.encode("utf-8", "replace")) for text in texts)


Rows = Mapping[str, dict[str, Any]]
"""Dialogue id -> row of a table."""
Unsupported = Mapping[str, Mapping[str, tuple[str, ...]]]
"""System -> dialogue id -> what the judge finds unsupported in its summary."""


def select_examples(
    count: int,
    dataset: Artifact,
    row_scores: Sequence[dict[str, Any]],
    outputs: Mapping[str, Artifact],
    unsupported: Unsupported | None = None,
) -> dict[str, list[Example]]:
    """`improved`, `regressed` and `others`: up to `count` dialogues in all, fewer if they exceed MAX_BYTES.

    Improved or regressed is judged by ROUGE-1 against the first of COMPARISON_SYSTEMS, strongest first. Without a tuned
    model, all dialogues are others.

    row_scores: rows of ROW_SCORES. outputs: predictions by system. unsupported: None without a judge.
    """
    test = _by_id(read_table(dataset.payload / "test.parquet", DATASET))
    predictions = {
        system: _by_id(read_table(artifact.payload / "predictions.parquet", PREDICTIONS))
        for system, artifact in outputs.items()
    }
    scores = {system: _by_id(row for row in row_scores if row["system"] == system) for system in predictions}
    compared = next((s for s in COMPARISON_SYSTEMS if s in predictions and System.TUNED in predictions), None)
    ids = list(predictions[System.BASE])
    changes = _changes(ids, scores, compared)
    groups = _groups(ids, changes or dict.fromkeys(ids, 0.0), count)
    selected: dict[str, list[Example]] = {group: [] for group in groups}
    size = 0
    for group, names in groups.items():
        for name in names:
            example = _example(name, test[name], predictions, scores, compared, changes.get(name), unsupported or {})
            if size + example.size <= MAX_BYTES:
                size += example.size
                selected[group].append(example)
    return selected


def _by_id(rows: Any) -> Rows:
    return {row["id"]: row for row in rows}


def _changes(ids: list[str], scores: Mapping[str, Rows], compared: System | None) -> dict[str, float]:
    """Dialogue id -> ROUGE-1 x 100 of tuned minus that of the compared system; empty without one."""
    if compared is None:
        return {}
    tuned, other = scores[System.TUNED], scores[compared]
    return {name: (tuned[name][HEADLINE_TYPE] - other[name][HEADLINE_TYPE]) * 100 for name in ids}


def _groups(ids: list[str], changes: Mapping[str, float], count: int) -> dict[str, list[str]]:
    """Group -> ids of its dialogues, `count` in all."""
    by_change = sorted(ids, key=lambda name: -changes[name])
    improved = [name for name in by_change[:MOST_CHANGED] if changes[name] > 0][: (count + 1) // 2]
    regressed = [name for name in by_change[::-1][:MOST_CHANGED] if changes[name] < 0][: count - len(improved)]
    rest = [name for name in ids if name not in {*improved, *regressed}]
    left = min(count - len(improved) - len(regressed), len(rest))
    return {
        "improved": improved,
        "regressed": regressed,
        "others": [rest[i * len(rest) // left] for i in range(left)],
    }


def _example(
    name: str,
    row: dict[str, Any],
    predictions: Mapping[str, Rows],
    scores: Mapping[str, Rows],
    compared: System | None,
    change: float | None,
    unsupported: Unsupported,
) -> Example:
    outputs = {}
    for system in (system for system in MODELS if system in predictions):
        prediction, score = predictions[system][name], scores[system][name]
        other = {System.TUNED: compared, compared: System.TUNED}.get(system)
        text = prediction["prediction"]
        outputs[str(system)] = ExampleOutput(
            prediction=text,
            tokens=prediction["tokens"],
            stop=prediction["stop"],
            rouge1=score[HEADLINE_TYPE] * 100,
            highlighted=highlight_changes(text, predictions[other][name]["prediction"] if other else text),
            new_name=score["speaker_error"] > 0,
            new_number=(score["number_error"] or 0) > 0,
            unsupported=unsupported.get(system, {}).get(name, ()),
        )
    topics = list(dict.fromkeys(topic for topic in row["topics"] if topic))
    return Example(name, row["dialogue"], topics, row["references"], outputs, change)


def highlight_changes(text: str, other: str) -> Markup:
    """Escaped text, with the words in <mark> that `other` does not have in this order."""
    words, other_words = re.findall(r"\s+|\S+", visible(text)), re.findall(r"\s+|\S+", visible(other))
    if max(len(words), len(other_words)) > MAX_COMPARED_WORDS:
        return escape(visible(text))
    parts = []
    for operation, start, end, _, _ in difflib.SequenceMatcher(None, words, other_words, autojunk=False).get_opcodes():
        part = escape("".join(words[start:end]))
        unchanged = operation == "equal" or not part.strip()
        parts.append(part if unchanged else Markup("<mark>{}</mark>").format(part))
    return Markup("").join(parts)

"""Measures that `bench faithfulness` compares with people's verdict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from flows.benchmarks.faithfulness_data import LabelledSummaries
from flows.benchmarks.support_measures import (
    agreement_with_other_systems,
    least_supported_sentence,
    utterances_drawn_on,
    words_not_in_dialogue,
    words_of_other_speakers,
    words_outside_best_utterance,
)
from tasks.metrics.entity_checks import entity_checks
from tasks.metrics.rouge import Scorer, score_rows
from tasks.metrics.score_table import STATISTICS
from tasks.tokenization import words

LENGTH = "words"
ROUGE = ("ROUGE-1 F1", "ROUGE-2 F1", "ROUGE-L F1", "ROUGE-L precision")
"""Against the references; the best of them is what other measures are compared with."""
_COMBINED = "ranks of ROUGE-L F1, utterances and words outside"


@dataclass(frozen=True)
class Measure:
    """Values of one measure, one per summary."""

    name: str
    higher_is_faithful: bool
    values: np.ndarray
    """Shape (rows,)."""

    @property
    def oriented(self) -> np.ndarray:
        """Values of which the higher means: more faithful."""
        return self.values if self.higher_is_faithful else -self.values


def all_measures(data: LabelledSummaries) -> list[Measure]:
    """Every measure that needs no model, of summaries with at least one dialogue."""
    measures = [*_rouge(data), _each("words", False, data, lambda summary, _: float(len(words(summary))))]
    for n in (1, 2, 3, 4):
        name = f"copied {n}-grams"
        measures.append(_each(name, True, data, partial(copied, n=n)))
    measures += _entities(data)
    for name, higher, function in (
        ("content words not in the dialogue", False, words_not_in_dialogue),
        ("support of the least supported sentence", True, least_supported_sentence),
        ("words outside the best utterance", False, words_outside_best_utterance),
        ("utterances that the words come from", False, utterances_drawn_on),
        ("words that another speaker said", False, words_of_other_speakers),
    ):
        measures.append(_each(name, higher, data, function))
    measures.append(Measure("agreement with other systems", True, agreement_with_other_systems(data)))
    by_name = {measure.name: measure for measure in measures}
    combined = ("ROUGE-L F1", "utterances that the words come from", "words outside the best utterance")
    ranks = [_ranks(by_name[name].oriented) for name in combined]
    measures.append(Measure(_COMBINED, True, np.sum(ranks, axis=0)))
    measures.append(_each("words of the dialogue", False, data, lambda _, dialogue: float(len(words(dialogue)))))
    return measures


def copied(summary: str, dialogue: str, n: int) -> float:
    """Share of the summary's n-grams that the dialogue has; 1 if it has none."""
    grams, said = _grams(words(summary), n), {*_grams(words(dialogue), n)}
    return sum(gram in said for gram in grams) / len(grams) if grams else 1.0


def _rouge(data: LabelledSummaries) -> list[Measure]:
    """Mean of the references; of the precision the best reference."""
    scores = score_rows(data.summaries, data.references, Scorer(stemming=True))
    f1, precision = STATISTICS.index("f1"), STATISTICS.index("precision")
    columns = [scores[:, :, kind, f1].mean(axis=1) for kind in range(3)] + [scores[:, :, 2, precision].max(axis=1)]
    return [Measure(name, True, values) for name, values in zip(ROUGE, columns, strict=True)]


def _entities(data: LabelledSummaries) -> list[Measure]:
    """Invented names and numbers, as the diagnostics of a report count them."""
    first = {name: i for i, name in reversed([*enumerate(data.ids)])}
    checks = entity_checks([data.dialogues[i] for i in first.values()], [data.references[i] for i in first.values()])
    return [
        _each("names not in the dialogue", False, data, lambda s, d: float(len(checks.speaker_errors(s, d)))),
        _each("numbers not in the dialogue", False, data, lambda s, d: float(len(checks.number_errors(s, d) or ()))),
    ]


def _each(name: str, higher: bool, data: LabelledSummaries, function: Callable[[str, str], float]) -> Measure:
    pairs = zip(data.summaries, data.dialogues, strict=True)
    return Measure(name, higher, np.asarray([function(*pair) for pair in pairs]))


def _grams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[i:] for i in range(n)), strict=False))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Mean rank of each value, from 0 to 1."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    means = np.cumsum(counts) - (counts + 1) / 2
    return np.asarray(means[inverse] / max(len(values) - 1, 1))

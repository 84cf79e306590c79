"""The scoring protocols: how several references become one score, with or without stemming."""

from collections.abc import Callable

import numpy as np

from tasks.config import TokenizerName
from tasks.metrics.rouge import Scorer, score_rows
from tasks.metrics.score_table import PROTOCOL_NAMES, STATISTICS, System

F1 = STATISTICS.index("f1")
CONSTANT_SENTENCE = "#Person1# and #Person2# are talking about something."


def mean_of_references(scores: np.ndarray) -> np.ndarray:
    """(rows, references, 4 types, 3 statistics) -> (rows, 4, 3)."""
    return np.asarray(scores.mean(axis=1))


def best_reference(scores: np.ndarray) -> np.ndarray:
    """The reference with the highest F1, chosen for each ROUGE type separately, as rouge_score's `score_multi` does."""
    best = scores[..., F1].argmax(axis=1)[:, None, :, None]
    return np.take_along_axis(scores, best, axis=1)[:, 0]


def first_reference(scores: np.ndarray) -> np.ndarray:
    """The first reference alone."""
    return scores[:, 0]


Reduction = Callable[[np.ndarray], np.ndarray]
_METHODS: tuple[tuple[bool, Reduction], ...] = (
    (True, mean_of_references),
    (False, mean_of_references),
    (True, best_reference),
    (True, first_reference),
)
PROTOCOLS: dict[str, tuple[bool, Reduction]] = dict(zip(PROTOCOL_NAMES, _METHODS, strict=True))
"""Name -> (stemming, reduction over references).

The same summaries score up to 11 points apart under these, so each figure is shown with its protocol.
"""


def score_under_all_protocols(
    texts: dict[str, list[str]], references: list[list[str]], tokenizer: TokenizerName = "auto"
) -> dict[str, dict[str, np.ndarray]]:
    """Protocol -> system -> scores of shape (rows, 4 types, 3 statistics), of every system's texts.

    With several references per row, `human` is added: the mean over the k references of each one's scores against the
    k - 1 others.
    """
    scores: dict[str, dict[str, np.ndarray]] = {name: {} for name in PROTOCOLS}
    for stemming in (True, False):
        scorer = Scorer(stemming, tokenizer)
        by_system = {name: score_rows(predictions, references, scorer) for name, predictions in texts.items()}
        human = [score_rows(one, others, scorer) for one, others in leave_one_out(references)]
        for name, (stems, reduce) in PROTOCOLS.items():
            if stems == stemming:
                scores[name] = {system: reduce(values) for system, values in by_system.items()}
                if human:
                    scores[name][System.HUMAN] = np.mean([reduce(values) for values in human], axis=0)
    return scores


def trivial_baselines(dialogues: list[str]) -> dict[str, list[str]]:
    """Summaries that need no model: one sentence for all dialogues, and the first three utterances of each."""
    return {
        System.CONSTANT_SENTENCE: [CONSTANT_SENTENCE] * len(dialogues),
        System.FIRST_UTTERANCES: [" ".join(dialogue.split("\n")[:3]) for dialogue in dialogues],
    }


def leave_one_out(references: list[list[str]]) -> list[tuple[list[str], list[list[str]]]]:
    """For each of the k references: that reference of every row, and the k - 1 others. Empty if k is 1."""
    count = len(references[0])
    if count == 1:
        return []
    return [([row[i] for row in references], [row[:i] + row[i + 1 :] for row in references]) for i in range(count)]

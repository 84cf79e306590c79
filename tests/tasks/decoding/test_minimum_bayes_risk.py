"""The summary that agrees most with the others, checked against rouge_score itself, pair by pair."""

import random
from statistics import fmean

import numpy as np
import pytest
from rouge_score import rouge_scorer

from tasks.decoding.minimum_bayes_risk import agreement, choose
from tests.support.data import read_csv
from tests.support.paths import SAMPLE

TYPES = ["rouge1", "rouge2", "rouge2", "rougeL"]
"""Pairs of words count twice."""
EDGES = [
    "",
    "a",
    "a a a",
    "a a",
    "running runs runner",
    "x " * 70,
    "x y " * 40,
    "The the THE",
    "...",
    "Ünï 1 2",
    "1 2 1 2 1",
]


def varied(count: int, seed: int) -> list[str]:
    """Summaries of the sample with words dropped, doubled and exchanged, as candidates are variants of each other."""
    dice = random.Random(seed)
    source = [row["summary"].split() for row in read_csv(SAMPLE / "test.csv")[:6]]
    texts = []
    for _ in range(count):
        words = [word for word in dice.choice(source) for _ in range(dice.choice([0, 1, 1, 1, 1, 2]))]
        for _ in range(3):
            words.insert(dice.randrange(len(words) + 1), dice.choice(dice.choice(source)))
        texts.append(" ".join(words))
    return texts


@pytest.mark.parametrize(
    "texts",
    [EDGES, [*varied(12, 0), ""], pytest.param(varied(33, 1), marks=pytest.mark.slow)],
    ids=["edges", "some", "many"],
)
def test_agreement_is_that_of_rouge_score(texts: list[str]) -> None:
    """Each pair has the weighted mean of rouge_score's F1 values; the choice has the best mean over the others."""
    scorer = rouge_scorer.RougeScorer(sorted(set(TYPES)), use_stemmer=True)
    expected = [[fmean(scorer.score(a, b)[kind].fmeasure for kind in TYPES) for a in texts] for b in texts]
    np.testing.assert_allclose(agreement(texts), expected, atol=1e-12)
    means = [fmean(value for j, value in enumerate(row) if j != i) for i, row in enumerate(expected)]
    assert means[choose(texts)] == pytest.approx(max(means), abs=1e-9)


def test_first_of_equals_is_taken() -> None:
    """The greedy summary, which comes first, stays where sampling found nothing better."""
    assert choose(["a b c", "c d e", "a b c"]) == 0
    assert choose(["x y", "p q", "r s"]) == 0
    assert choose(["x y", "p q r", "p q r s"]) == 1
    assert choose(["", ""]) == 0


def test_candidates_are_compared_by_the_tokens_that_are_scored() -> None:
    """Three inflected forms have no word in common, but most of their characters; two texts share a word."""
    texts = ["Анна", "Анны", "Анну", "кот и дом", "кот сел"]
    assert choose(texts, "unicode") == choose(texts) == 3
    assert choose(texts, "characters") == 0

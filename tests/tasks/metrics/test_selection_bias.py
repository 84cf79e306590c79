"""The bias of having chosen the best, against simulations in which the true score of every system is known."""

import numpy as np
import pytest

from tasks.metrics.bootstrap import bootstrap_counts
from tasks.metrics.selection_bias import selection_bias

DIALOGUES, SYSTEMS, WORLDS = 100, 20, 150


def simulate(spread: float) -> tuple[float, float]:
    """Mean true bias of the best of 20 systems over many samples of dialogues, and the mean estimate of it.

    spread: standard deviation of the true scores. Scores on a dialogue are correlated, as those of similar models are.
    """
    generator = np.random.default_rng(0)
    counts, truth, estimates = bootstrap_counts(DIALOGUES, 300, 0), [], []
    for _ in range(WORLDS):
        true = 0.4 + spread * generator.standard_normal(SYSTEMS)
        difficulty = 0.12 * generator.standard_normal((DIALOGUES, 1))
        scores = true + difficulty + 0.08 * generator.standard_normal((DIALOGUES, SYSTEMS))
        best = scores.mean(axis=0).argmax()
        truth.append(scores[:, best].mean() - true[best])
        estimates.append(selection_bias(scores, counts))
    return float(np.mean(truth)), float(np.mean(estimates))


def test_among_equal_systems_it_is_the_true_bias() -> None:
    """1.87 standard errors, which is what the best of 20 independent normal means gains on average."""
    truth, estimate = simulate(spread=0.0)
    by_hand = 1.867 * 0.08 / np.sqrt(DIALOGUES)
    assert truth == pytest.approx(by_hand, rel=0.15)
    assert estimate == pytest.approx(by_hand, rel=0.1)


@pytest.mark.parametrize("spread", [0.005, 0.02])
def test_among_systems_that_differ_it_is_smaller_and_not_too_small(spread: float) -> None:
    truth, estimate = simulate(spread)
    assert 0.8 * truth - 0.001 < estimate < simulate(0.0)[1]
    assert estimate < 1.6 * truth + 0.001


def test_a_system_that_is_always_best_has_none() -> None:
    generator = np.random.default_rng(1)
    scores = generator.random((200, 5)) * 0.1
    scores[:, 3] += 0.5
    bias = selection_bias(scores, bootstrap_counts(200, 1000, 0))
    assert bias == pytest.approx(0.0, abs=0.001)


def test_equal_columns_have_none_and_one_dialogue_has_no_estimate() -> None:
    """There was nothing to choose between; and nothing is left out of any resample of one dialogue."""
    same = np.repeat(np.random.default_rng(2).random((50, 1)), 4, axis=1)
    assert selection_bias(same, bootstrap_counts(50, 2000, 0)) == pytest.approx(0.0, abs=0.005)
    assert selection_bias(np.ones((1, 3)), bootstrap_counts(1, 100, 0)) is None

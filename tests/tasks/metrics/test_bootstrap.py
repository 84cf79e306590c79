"""The paired bootstrap compared with a version in plain loops, with formulas, and with counts by hand."""

import math
import random

import numpy as np
import pytest

from tasks.metrics.bootstrap import CHUNK, bootstrap_counts, paired_difference, percentile_intervals, resampled_means
from tasks.metrics.scores import Difference
from tests.support.artifacts import ArtifactFactory

KINDS = ("one", "two")


def bootstrap(values: list[float], resamples: int, seed: int) -> tuple[float, float, float]:
    """An independent one: 2.5 and 97.5 % points x 100 of the mean, and the share above zero, ties counting half."""
    chance = random.Random(seed)
    means = sorted(sum(chance.choices(values, k=len(values))) / len(values) for _ in range(resamples))
    better = sum(1.0 if mean > 0 else 0.5 if mean == 0 else 0.0 for mean in means) / resamples
    return 100 * means[int(0.025 * resamples)], 100 * means[int(0.975 * resamples) - 1], better


@pytest.mark.parametrize("shift", [-0.03, 0.0, 0.02, 0.1])
def test_interval_and_probability_agree_with_an_independent_bootstrap(shift: float) -> None:
    """Another generator, other counts, plain loops: the same to within what the number of resamples allows."""
    deltas = np.random.default_rng(7).normal(shift, 0.15, size=60)
    difference = paired_difference(deltas[:, None], bootstrap_counts(60, 10_000, 0), ["rouge1"])["rouge1"]
    low, high, better = bootstrap(deltas.tolist(), 10_000, 1)
    width = high - low
    assert difference.mean == pytest.approx(100 * math.fsum(deltas) / 60, abs=6e-5)
    assert difference.interval == pytest.approx([low, high], abs=0.05 * width)
    assert difference.probability_better == pytest.approx(better, abs=0.02)  # four standard errors of a share at 0.5


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """For 200 samples with a known mean about 95 % of the intervals contain it; the percentile method loses some."""
    generator = np.random.default_rng(3)
    counts = bootstrap_counts(80, 1000, 0)
    held = 0
    for _ in range(200):
        low, high = paired_difference(generator.normal(0.04, 0.2, size=(80, 1)), counts, ["x"])["x"].interval
        held += low <= 4 <= high
    assert 178 <= held <= 199


def test_two_dialogues_can_be_counted() -> None:
    """Gains of 1 and 0: resampled means are 0, 1/2, 1 with odds 1:2:1; a zero counts half, so better in 7 of 8."""
    difference = paired_difference(np.array([[1.0], [0.0]]), bootstrap_counts(2, 40_000, 0), ["x"])["x"]
    assert (difference.mean, difference.interval) == (50, (0, 100))
    assert difference.probability_better == pytest.approx(7 / 8, abs=0.01)  # four standard errors of a quarter's half


def test_differences_through_the_stage_can_be_counted_too(artifact_factory: ArtifactFactory) -> None:
    """Two dialogues as predictions, one right and one empty, compared with empty ones."""
    dataset = artifact_factory.dataset([["the cat sat"], ["the dog ran"]])
    base, tuned = artifact_factory.predictions(["", ""]), artifact_factory.predictions(["the cat sat", ""])
    scores, _ = artifact_factory.score(dataset, base, tuned, bootstrap_resamples=4000)
    gain = scores["differences"]["base"]["rouge1"]
    assert (gain["mean"], gain["interval"]) == (50, [0, 100])
    assert gain["better"] == pytest.approx(7 / 8, abs=0.02)
    headline = scores["protocols"][scores["headline"]]["systems"]
    assert headline["tuned"]["rouge1"]["interval"] == [0, 100]


def test_equal_systems_are_even_exactly_and_one_always_ahead_is_certain() -> None:
    """No gain anywhere: difference 0, probability one half. A tenth gained everywhere: probability 1 in any draw."""
    deltas = np.stack([np.zeros(37), np.full(37, 0.1)], axis=1)
    differences = paired_difference(deltas, bootstrap_counts(37, 2500, 5), KINDS)
    assert differences["one"] == Difference(mean=0, interval=(0, 0), probability_better=0.5)
    assert differences["two"] == Difference(mean=10, interval=(10, 10), probability_better=1)
    assert paired_difference(-deltas, bootstrap_counts(37, 2500, 5), KINDS)["two"] == Difference(
        mean=-10, interval=(-10, -10), probability_better=0
    )


def test_turned_around_the_difference_changes_its_sign_and_nothing_else() -> None:
    """a against b and b against a: the same figures, mirrored."""
    deltas = np.random.default_rng(0).normal(0.01, 0.1, size=(25, 2))
    counts = bootstrap_counts(25, 2000, 0)
    one, two = paired_difference(deltas, counts, KINDS), paired_difference(-deltas, counts, KINDS)
    for kind in KINDS:
        assert two[kind].mean == -one[kind].mean
        assert two[kind].interval == pytest.approx([-x for x in reversed(one[kind].interval)], abs=2e-4)
        assert two[kind].probability_better == pytest.approx(1 - one[kind].probability_better, abs=2e-4)


def test_draws_depend_on_the_seed_alone_and_are_samples_with_replacement() -> None:
    """Twice the same bytes; each resample as large as the set; a row is missing from (1 - 1/n)^n of them."""
    one, two, other = bootstrap_counts(50, 3000, 1), bootstrap_counts(50, 3000, 1), bootstrap_counts(50, 3000, 2)
    assert one.tobytes() == two.tobytes() != other.tobytes()
    assert (one.sum(axis=1) == 50).all()
    assert (one == 0).mean() == pytest.approx((1 - 1 / 50) ** 50, abs=0.01)
    assert one.mean(axis=0) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("resamples", [1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7])
def test_resampled_means_are_those_of_the_rows_drawn(resamples: int) -> None:
    """Also where the resamples fill a chunk exactly, or not."""
    values = np.random.default_rng(1).random((9, 3))
    counts = bootstrap_counts(9, resamples, 0)
    means = resampled_means(values, counts)
    assert means.shape == (resamples, 3)
    for i in {0, resamples // 2, resamples - 1}:
        drawn = [row for row, count in zip(values.tolist(), counts[i], strict=True) for _ in range(count)]
        assert len(drawn) == 9
        assert means[i] == pytest.approx(np.mean(drawn, axis=0), abs=1e-12)


def test_a_resample_without_any_row_of_a_slice_is_left_out() -> None:
    """It has no mean; the others stay as they are."""
    counts = np.array([[0, 0], [1, 0], [1, 3]])
    assert resampled_means(np.array([[1.0], [5.0]]), counts) == pytest.approx(np.array([[1.0], [4.0]]))


def test_percentiles_by_hand() -> None:
    """Of 0, 1, ..., 200 the 2.5 and 97.5 % points are 5 and 195."""
    assert percentile_intervals(np.arange(201.0)[::-1, None] / 100) == [(5, 195)]

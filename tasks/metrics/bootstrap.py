"""The paired bootstrap: is one system better than another on the same dialogues?

Dialogues are resampled, not references: the references of one dialogue are not independent. All figures of one
evaluation share the same resamples, so a difference is consistent with the two scores it compares.
"""

from collections.abc import Sequence

import numpy as np

from tasks.metrics.score_table import ROUGE_TYPES, STATISTICS
from tasks.metrics.scores import Difference, Interval, RougeScore

CHUNK = 1000
"""Resamples whose weights are in memory as floats at once."""


def bootstrap_counts(rows: int, resamples: int, seed: int) -> np.ndarray:
    """How often each resample draws each dialogue: shape (resamples, rows); each line adds up to `rows`."""
    generator = np.random.default_rng(seed)
    counts = np.empty((resamples, rows), dtype=np.uint16)
    for line in counts:
        line[:] = np.bincount(generator.integers(0, rows, size=rows), minlength=rows)
    return counts


def resampled_means(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean of each resample, shape (resamples, columns), of values of shape (rows, columns).

    A resample without any of the rows, which happens in small slices, is left out.
    """
    means = []
    for start in range(0, len(counts), CHUNK):
        weights = counts[start : start + CHUNK].astype(np.float64)
        total = weights.sum(axis=1, keepdims=True)
        means.append((weights @ values)[total[:, 0] > 0] / total[total > 0][:, None])
    return np.concatenate(means)


def percentile_intervals(means: np.ndarray) -> list[Interval]:
    """95 % percentile interval x 100 of each column."""
    bounds = np.percentile(means, [2.5, 97.5], axis=0) * 100
    return [(round(float(low), 4), round(float(high), 4)) for low, high in bounds.T]


def paired_difference(deltas: np.ndarray, counts: np.ndarray, columns: Sequence[str]) -> dict[str, Difference]:
    """Paired difference x 100 of each column of `deltas`, shape (rows, columns).

    The probability of being better is the share of resamples above zero. A resample at exactly zero counts half, so
    equal systems get 0.5.
    """
    means = resampled_means(deltas, counts)
    better = (means > 0).mean(axis=0) + (means == 0).mean(axis=0) / 2
    intervals = percentile_intervals(means)
    return {
        name: Difference(
            mean=round(float(deltas[:, i].mean() * 100), 4),
            interval=intervals[i],
            probability_better=round(float(better[i]), 4),
        )
        for i, name in enumerate(columns)
    }


def mean_and_interval(scores: np.ndarray, counts: np.ndarray) -> dict[str, RougeScore]:
    """ROUGE type -> means x 100 of scores of shape (rows, 4 types, 3 statistics), with a 95 % interval of F1."""
    means = scores.mean(axis=0) * 100
    intervals = percentile_intervals(resampled_means(scores[..., STATISTICS.index("f1")], counts))
    return {
        name: RougeScore(
            **{statistic: round(float(means[i, j]), 4) for j, statistic in enumerate(STATISTICS)},
            interval=intervals[i],
        )
        for i, name in enumerate(ROUGE_TYPES)
    }

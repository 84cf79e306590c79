"""AUROC by ranks, with ties, and its bootstrap over dialogues.

Here it is the probability that a summary without an error has a higher value than one with an error; equal values count
half. 0.5 is chance.
"""

import numpy as np


def auroc(values: np.ndarray, errors: np.ndarray) -> float:
    """AUROC of values of shape (rows,) against errors of shape (rows,), 1 or 0. NaN if all rows have the same label."""
    return float(weighted_auroc(values, errors, np.ones((1, len(values))))[0])


def weighted_auroc(values: np.ndarray, errors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUROC of each line of weights, shape (resamples, rows); NaN where one of the labels has no weight."""
    order = np.argsort(values, kind="stable")
    sorted_values, wrong = values[order], errors[order].astype(bool)
    starts = np.flatnonzero(np.r_[True, sorted_values[1:] != sorted_values[:-1]])  # the first row of each value
    lines = weights[:, order].astype(np.float64)
    faulty = np.add.reduceat(np.where(wrong, lines, 0.0), starts, axis=1)
    correct = np.add.reduceat(np.where(wrong, 0.0, lines), starts, axis=1)
    below = np.cumsum(faulty, axis=1) - faulty / 2  # rows with an error and a lower value, and half of the equal ones
    pairs = faulty.sum(axis=1) * correct.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray((correct * below).sum(axis=1) / np.where(pairs > 0, pairs, np.nan))


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """95 % percentile interval, of the resamples in which both labels occur; NaN if there is none."""
    if np.isnan(resampled).all():
        return np.nan, np.nan
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return float(low), float(high)


def weighted_auroc_within(
    values: np.ndarray, errors: np.ndarray, groups: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """AUROC over the pairs of rows of the same group, such as the summaries of one dialogue.

    groups: shape (rows,), from 0. weights: of the groups, shape (resamples, groups). NaN without such a pair.
    """
    wins, pairs = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    for group in np.unique(groups):
        own = groups == group
        correct, faulty = values[own & (errors == 0)], values[own & (errors == 1)]
        higher, equal = correct[:, None] > faulty, correct[:, None] == faulty
        wins[group], pairs[group] = (higher + equal / 2).sum(), higher.size
    total = weights @ pairs
    return np.asarray(weights @ wins / np.where(total > 0, total, np.nan))

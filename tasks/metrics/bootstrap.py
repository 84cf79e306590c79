"""Is one system better than another, on the same dialogues? The paired bootstrap, over all rows and over slices of them.

Dialogues are resampled, not references: those of one dialogue are not independent. All figures of one evaluation share
the same draws, so a difference and the scores it is made of belong together.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

LEAST_ROWS = 5
"""A slice of fewer dialogues says nothing and is left out."""
MOST_TOPICS = 8
CHUNK = 1000
"""Resamples whose weights are in memory as floats at once."""
_SPEAKER = re.compile(r"^\s*([^\s:][^:\n]{0,40}):", re.MULTILINE)


def draw(rows: int, resamples: int, seed: int) -> np.ndarray:
    """How often each dialogue is drawn in each resample: counts of shape (resamples, rows), each line's sum is `rows`."""
    generator = np.random.default_rng(seed)
    counts = np.empty((resamples, rows), dtype=np.uint16)
    for line in counts:
        line[:] = np.bincount(generator.integers(0, rows, size=rows), minlength=rows)
    return counts


def resampled(values: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Means of each resample, (resamples, columns), of values (rows, columns).

    A resample that holds none of the rows, which happens in small slices, is left out.
    """
    means = []
    for start in range(0, len(draws), CHUNK):
        weights = draws[start : start + CHUNK].astype(np.float64)
        total = weights.sum(axis=1, keepdims=True)
        means.append((weights @ values)[total[:, 0] > 0] / total[total > 0][:, None])
    return np.concatenate(means)


def interval(means: np.ndarray) -> list[list[float]]:
    """95 % percentile interval x 100 of each column."""
    bounds = np.percentile(means, [2.5, 97.5], axis=0) * 100
    return [[round(float(low), 4), round(float(high), 4)] for low, high in bounds.T]


def difference(gains: np.ndarray, draws: np.ndarray, columns: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Paired difference x 100 of each column of `gains` (rows, columns): mean, 95 % interval, and probability of being better.

    The probability is the share of resamples above zero; one that is exactly zero counts half, so equal systems get 0.5.
    """
    means = resampled(gains, draws)
    share = (means > 0).mean(axis=0) + (means == 0).mean(axis=0) / 2
    bounds = interval(means)
    return {
        name: {
            "mean": round(float(gains[:, i].mean() * 100), 4),
            "interval": bounds[i],
            "better": round(float(share[i]), 4),
        }
        for i, name in enumerate(columns)
    }


def slices(dialogues: Sequence[str], topics: Sequence[Sequence[str]]) -> list[tuple[str, str, np.ndarray]]:
    """(kind, name, mask over the rows): dialogue length in thirds, number of speakers, the most frequent topics."""
    length = np.asarray([len(dialogue.split()) for dialogue in dialogues])
    low, high = np.floor(np.quantile(length, [1 / 3, 2 / 3]))  # whole words, so that the names are true of the slices
    found = [
        ("length", f"up to {low:.0f} words", length <= low),
        ("length", f"{low + 1:.0f} to {high:.0f} words", (length > low) & (length <= high)),
        ("length", f"over {high:.0f} words", length > high),
    ]
    speakers = np.asarray([len(set(_SPEAKER.findall(dialogue))) for dialogue in dialogues])
    found += [
        ("speakers", f"{count} speaker{'s' * (count != 1)}", speakers == count)
        for count in sorted({int(n) for n in speakers})
    ]
    named = [{topic.strip().casefold() for topic in row if topic.strip()} for row in topics]
    often = Counter(topic for row in named for topic in row)
    for topic, _ in sorted(often.items(), key=lambda pair: (-pair[1], pair[0]))[:MOST_TOPICS]:
        found.append(("topic", topic, np.asarray([topic in row for row in named])))
    return [(kind, name, mask) for kind, name, mask in found if mask.sum() >= LEAST_ROWS]

"""Selection bias: by how much the score of the best of several systems overstates it, since it was chosen for it."""

import numpy as np

RESAMPLES = 1000
"""Resamples of the dialogues; the mean over them is what counts, so that fewer suffice than for an interval."""


def selection_bias(scores: np.ndarray, counts: np.ndarray) -> float | None:
    """How much lower the best system is expected to score on other dialogues, in the unit of `scores`.

    In each resample of the dialogues the best system is chosen; the difference between its mean there and its mean on
    the dialogues that the resample left out shows what the choice gained by chance. A mean of resampled dialogues
    varies sqrt(2) times as much as a mean of sampled ones (it is a sample of a sample), and so does the gain: the mean
    difference is divided by sqrt(2). Among equal systems this is their true bias; a system that is best in every
    resample has none; in between, it is up to a third too high.

    scores: of shape (dialogues, systems). counts: how often each resample draws each dialogue (`bootstrap_counts`).
    None if every resample draws every dialogue, as of one dialogue.
    """
    drawn, left_out = counts.astype(np.float64), (counts == 0).astype(np.float64)
    usable = left_out.any(axis=1)
    if not usable.any():
        return None
    drawn, left_out = drawn[usable], left_out[usable]
    inside = drawn @ scores / drawn.sum(axis=1, keepdims=True)
    outside = left_out @ scores / left_out.sum(axis=1, keepdims=True)
    best = inside.argmax(axis=1)[:, None]
    gains = np.take_along_axis(inside, best, axis=1) - np.take_along_axis(outside, best, axis=1)
    return float(gains.mean() / np.sqrt(2))

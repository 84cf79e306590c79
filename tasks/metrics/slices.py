"""Parts of the test dialogues that are scored separately: by length, number of speakers and topic."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from tasks.tokenization import length_in_words

MIN_ROWS = 5
"""Smaller slices are left out, since their scores are too uncertain."""
MAX_TOPICS = 8
SPEAKER_LABEL = re.compile(r"^\s*([^\s:：][^:：\n]{0,40})[:：]", re.MULTILINE)
"""With the full-width colon of Chinese and Japanese dialogues."""


def slices(dialogues: Sequence[str], topics: Sequence[Sequence[str]]) -> list[tuple[str, str, np.ndarray]]:
    """(kind, name, mask over the rows): length in thirds, number of speakers, the most frequent topics."""
    masks = [*_by_length(dialogues), *_by_speakers(dialogues), *_by_topic(topics)]
    return [(kind, name, mask) for kind, name, mask in masks if mask.sum() >= MIN_ROWS]


def _by_length(dialogues: Sequence[str]) -> list[tuple[str, str, np.ndarray]]:
    length = np.asarray([length_in_words(dialogue) for dialogue in dialogues])
    low, high = np.floor(np.quantile(length, [1 / 3, 2 / 3]))  # whole words, so that the names are true of the slices
    return [
        ("length", f"up to {low:.0f} words", length <= low),
        ("length", f"{low + 1:.0f} to {high:.0f} words", (length > low) & (length <= high)),
        ("length", f"over {high:.0f} words", length > high),
    ]


def _by_speakers(dialogues: Sequence[str]) -> list[tuple[str, str, np.ndarray]]:
    speakers = np.asarray([len(set(SPEAKER_LABEL.findall(dialogue))) for dialogue in dialogues])
    return [
        ("speakers", f"{count} speaker{'s' * (count != 1)}", speakers == count)
        for count in sorted({int(n) for n in speakers})
    ]


def _by_topic(topics: Sequence[Sequence[str]]) -> list[tuple[str, str, np.ndarray]]:
    """The most frequent topics first; a dialogue counts once per topic, whatever the case and spacing."""
    by_row = [{topic.strip().casefold() for topic in row if topic.strip()} for row in topics]
    counts = Counter(topic for row in by_row for topic in row)
    frequent = sorted(counts, key=lambda topic: (-counts[topic], topic))[:MAX_TOPICS]
    return [("topic", topic, np.asarray([topic in row for row in by_row])) for topic in frequent]

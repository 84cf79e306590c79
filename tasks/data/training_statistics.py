"""Lengths, speakers, topics and words of the training dialogues."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tasks.data.change_records import Distribution, TopicChanges, TopicShare, TrainingProfile, UnseenWords
from tasks.data.dialogue_row import DialogueRow, dialogue_rows
from tasks.tokenization import length_in_words, words

SHOWN = 5
"""Topics and words of each kind that a report shows."""
LEAST_CHANGE = 0.001
"""Smaller changes of a topic's share are not shown."""


@dataclass
class TrainingStatistics:
    """One number of each kind for each training row, and how often each topic occurs."""

    dialogue_words: list[int] = field(default_factory=list)
    reference_words: list[int] = field(default_factory=list)
    speakers: list[int] = field(default_factory=list)
    topics: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, dataset: Path) -> "TrainingStatistics":
        """Read the training rows of a dataset."""
        statistics = cls()
        for row in dialogue_rows(dataset, "train"):
            statistics.dialogue_words.append(length_in_words(row.dialogue))
            statistics.reference_words += map(length_in_words, row.references)
            statistics.speakers.append(len(row.speakers))
            statistics.topics.update(row.distinct_topics)
        return statistics

    def profile(self) -> TrainingProfile:
        return TrainingProfile(
            dialogue_words=_distribution(self.dialogue_words),
            reference_words=_distribution(self.reference_words),
            speakers=_distribution(self.speakers),
        )

    def share(self, topic: str) -> float:
        """Share of the dialogues that have a topic, 0 to 1."""
        return self.topics[topic] / len(self.dialogue_words)


def topic_changes(before: TrainingStatistics, after: TrainingStatistics) -> TopicChanges:
    """New and vanished topics, and those in both whose share changed most."""
    new, vanished = _not_in(after.topics, before.topics), _not_in(before.topics, after.topics)
    shares = [
        TopicShare(topic=topic, before=before.share(topic), after=after.share(topic))
        for topic in before.topics.keys() & after.topics.keys()
    ]
    shares.sort(key=lambda share: (-abs(share.after - share.before), share.topic))
    return TopicChanges(
        new=len(new),
        vanished=len(vanished),
        most_frequent_new=tuple(_most_frequent(new)),
        most_frequent_vanished=tuple(_most_frequent(vanished)),
        shares=tuple(share for share in shares[:SHOWN] if abs(share.after - share.before) >= LEAST_CHANGE),
    )


def unseen_words(before: Path, after: Path, new_rows: Collection[int]) -> UnseenWords:
    """Words of new rows that the earlier training data does not have.

    new_rows: positions of the added and edited rows among the training rows of `after`.
    """
    if not new_rows:
        return UnseenWords()
    known = {word for row in dialogue_rows(before, "train") for word in _all_words(row)}
    count, unseen = 0, Counter[str]()
    for position, row in enumerate(dialogue_rows(after, "train")):
        if position in new_rows:
            row_words = _all_words(row)
            count += len(row_words)
            unseen.update(word for word in row_words if word not in known)
    most_frequent = {word: unseen[word] for word in _most_frequent(unseen)}
    return UnseenWords(words=count, unseen=unseen.total(), most_frequent=most_frequent)


def _not_in(topics: Counter[str], others: Counter[str]) -> Counter[str]:
    return Counter({topic: count for topic, count in topics.items() if topic not in others})


def _all_words(row: DialogueRow) -> list[str]:
    return [word for text in (row.dialogue, *row.references) for word in words(text)]


def _most_frequent(counts: Counter[str]) -> list[str]:
    return sorted(counts, key=lambda name: (-counts[name], name))[:SHOWN]


def _distribution(values: Sequence[int]) -> Distribution:
    median, high = np.quantile(values, [0.5, 0.95])
    return Distribution(mean=round(float(np.mean(values)), 2), median=float(median), percentile95=round(float(high), 2))

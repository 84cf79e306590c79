"""Compares two versions of a dataset: which rows changed, and how the training data differs."""

from collections.abc import Iterable
from itertools import islice, pairwise
from pathlib import Path

from tasks.config import ChampionData
from tasks.data import change_sentences
from tasks.data.change_records import DataChanges, DataComparison, SplitChanges
from tasks.data.row_matching import MatchedRows, RowDigest, match_rows, row_digests
from tasks.data.training_statistics import TrainingStatistics, topic_changes, unseen_words
from tasks.sources.resolve import SPLITS

EXAMPLES = 3
"""Ids of each kind of change that a report names."""


def compare_datasets(before: Path, after: Path) -> DataChanges:
    """What changed from one dataset to another. before, after: payloads of artifacts of download.

    Keeps digests of the rows, lengths and the vocabulary in memory, but no texts.
    """
    matches = {split: match_rows(row_digests(before, split), row_digests(after, split)) for split in SPLITS}
    train = matches["train"]
    new_rows = {row.position for row in (*train.added, *(row for _, row in train.edited))}
    earlier, later = TrainingStatistics.of(before), TrainingStatistics.of(after)
    return DataChanges(
        splits={split: _split_changes(matched) for split, matched in matches.items()},
        before=earlier.profile(),
        after=later.profile(),
        topics=topic_changes(earlier, later),
        unseen_words=unseen_words(before, after, new_rows),
    )


def compare_with_champion(champion: ChampionData, dataset: Path, earlier: Path | None) -> DataComparison:
    """The dataset of a run, compared with the one that the champion was trained on, in numbers and in a sentence.

    earlier: payload of the champion's dataset; None if it is the same dataset or is not available.
    """
    adapter = champion.champion
    if champion.not_compared is not None:
        sentence = change_sentences.not_compared(adapter, champion.not_compared)
        return DataComparison(champion=adapter, sentence=sentence)
    if earlier is None:
        return DataComparison(champion=adapter, sentence=change_sentences.unchanged(adapter))
    changes = compare_datasets(earlier, dataset)
    sentence = change_sentences.headline(changes, adapter)
    return DataComparison(champion=adapter, sentence=sentence, changes=changes if changes.changed else None)


def _split_changes(matched: MatchedRows) -> SplitChanges:
    edited, unedited = matched.edited, matched.unedited
    renumbered = [new for old, new in unedited if old.id != new.id]
    examples = {
        "added": _ids(matched.added),
        "removed": _ids(matched.removed),
        "edited": _ids(new for _, new in edited),
        "renumbered": _ids(renumbered),
    }
    return SplitChanges(
        rows_before=len(matched.pairs) + len(matched.removed),
        rows_after=len(matched.pairs) + len(matched.added),
        added=len(matched.added),
        removed=len(matched.removed),
        edited=len(edited),
        edited_dialogues=sum(old.dialogue != new.dialogue for old, new in edited),
        edited_references=sum(old.references != new.references for old, new in edited),
        renumbered=len(renumbered),
        other_topics=sum(old.topics != new.topics for old, new in matched.pairs),
        reordered=any(first.position > second.position for (first, _), (second, _) in pairwise(unedited)),
        examples={kind: ids for kind, ids in examples.items() if ids},
    )


def _ids(rows: Iterable[RowDigest]) -> tuple[str, ...]:
    return tuple(row.id for row in islice(rows, EXAMPLES))

"""What changed in the data, in sentences: every kind of change is named, none that is not there."""

from typing import Any

import pytest

from tasks.data.change_records import (
    DataChanges,
    Distribution,
    SplitChanges,
    TopicChanges,
    TopicShare,
    TrainingProfile,
    UnseenWords,
)
from tasks.data.change_sentences import details, headline

LENGTHS = Distribution(mean=1, median=1, percentile95=1)
PROFILE = TrainingProfile(dialogue_words=LENGTHS, reference_words=LENGTHS, speakers=LENGTHS)


def changes(**more: Any) -> DataChanges:
    """Changes of the splits that are named, and of topics and words."""
    splits = {
        name: SplitChanges(rows_before=9, rows_after=9, **more.pop(name, {}))
        for name in ("train", "validation", "test")
    }
    empty = {"topics": TopicChanges(), "unseen_words": UnseenWords()}
    return DataChanges(splits=splits, before=PROFILE, after=PROFILE, **(empty | more))


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        ({}, "The data is the same as when train-1a2b was trained."),
        ({"train": {"added": 1}}, "Since train-1a2b was trained: 1 training dialogue added."),
        (
            {"train": {"added": 120, "removed": 3, "edited": 5}, "test": {"edited": 1}},
            "Since train-1a2b was trained: 120 training dialogues added, 3 removed, 5 edited; 1 test dialogue edited.",
        ),
        (
            {"validation": {"renumbered": 2, "other_topics": 4, "reordered": True}},
            "Since train-1a2b was trained: 2 validation dialogues renumbered, 4 with other topics, in another order.",
        ),
        (
            {"train": {"reordered": True}},
            "Since train-1a2b was trained: training dialogues in another order.",
        ),
    ],
)
def test_the_headline_counts_what_changed_by_split(splits: dict[str, Any], expected: str) -> None:
    assert headline(changes(**splits), "train-1a2b") == expected


def test_details_are_there_for_what_there_is() -> None:
    """No sentence without its figures; a count and its examples only differ in number if some are left out."""
    assert details(changes(train={"added": 1, "removed": 1}, test={"renumbered": 2, "other_topics": 1})) == []
    found = details(
        changes(
            train={"edited": 5, "edited_dialogues": 2, "edited_references": 4},
            test={"removed": 1},
            topics=TopicChanges(
                new=7,
                vanished=1,
                most_frequent_new=("chess", "golf"),
                most_frequent_vanished=("war",),
                shares=(TopicShare(topic="food", before=0.25, after=0.5),),
            ),
            unseen_words=UnseenWords(words=200, unseen=3, most_frequent={"zoom": 2, "vlog": 1}),
        )
    )
    assert found == [
        "Edited training dialogues: the dialogue differs in 2, the references differ in 4.",
        "The added and edited training dialogues and their references have 200 words. 1.5 % of these words occur "
        "nowhere in the earlier training data, most often zoom (2), vlog (1).",
        "Topics of training dialogues that are new: 7 (such as chess, golf).",
        "Topics of training dialogues that have vanished: 1 (war).",
        "Topics of training dialogues whose share changed most: food, 25.0 % to 50.0 %.",
        "The test split changed: scores of earlier evaluations were measured on other test rows.",
    ]
    assert details(changes(train={"added": 1}, unseen_words=UnseenWords(words=200))) == [
        "The added and edited training dialogues and their references have 200 words. 0 % of these words occur nowhere "
        "in the earlier training data.",
    ]

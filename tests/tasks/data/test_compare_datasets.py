"""Changes between two datasets are counted as they were made: by hand, and by random edits."""

import tempfile
from pathlib import Path
from statistics import fmean, median, quantiles

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.config import ChampionData
from tasks.data.change_records import Distribution, SplitChanges
from tasks.data.compare_datasets import compare_datasets, compare_with_champion
from tests.support.datasets import DatasetRow, dataset_row, write_dataset

EDITS = ("keep", "remove", "dialogue", "references", "both", "renumber", "topics")


def numbered(count: int) -> list[DatasetRow]:
    return [
        dataset_row(f"train_{i}", f"A: hello {i}\nB: good {i}", f"They say {i}.", topics=["talk"]) for i in range(count)
    ]


def edited(row: DatasetRow, edit: str) -> DatasetRow:
    changes = {
        "dialogue": {"dialogue": f"{row['dialogue']} And more."},
        "references": {"references": [f"{row['references'][0]} And more."]},
        "renumber": {"id": f"other_{row['id']}"},
        "topics": {"topics": ["other"]},
    }
    return row | (changes["dialogue"] | changes["references"] if edit == "both" else changes.get(edit, {}))


@settings(max_examples=60, deadline=None)
@given(
    edits=st.lists(st.sampled_from(EDITS), min_size=1, max_size=12),
    added=st.integers(0, 4),
    data=st.data(),
)
def test_random_edits_are_counted_exactly(edits: list[str], added: int, data: st.DataObject) -> None:
    """Each row is kept, removed, edited or renumbered, rows are added anywhere, and the order may change."""
    before = numbered(len(edits))
    kept = [edited(row, edit) for row, edit in zip(before, edits, strict=True) if edit != "remove"]
    new = [dataset_row(f"new_{i}", f"A: new {i}\nB: quite {i}", f"It is new {i}.") for i in range(added)]
    after = data.draw(st.permutations(kept + new))
    assume(after)  # download refuses a split without rows
    count = {edit: edits.count(edit) for edit in EDITS}
    ids = [row["id"] for row in after if not row["id"].startswith("new_")]
    unedited = [row["id"] for row, edit in zip(before, edits, strict=True) if edit in ("keep", "renumber", "topics")]
    kept_order = [name.removeprefix("other_") for name in ids if name.removeprefix("other_") in unedited]
    with tempfile.TemporaryDirectory() as folder:
        earlier = write_dataset(Path(folder) / "before", before)
        later = write_dataset(Path(folder) / "after", after)
        train = compare_datasets(earlier, later).splits["train"]
    assert train.model_dump(exclude={"examples"}) == {
        "rows_before": len(before),
        "rows_after": len(after),
        "added": added,
        "removed": count["remove"],
        "edited": count["dialogue"] + count["references"] + count["both"],
        "edited_dialogues": count["dialogue"] + count["both"],
        "edited_references": count["references"] + count["both"],
        "renumbered": count["renumber"],
        "other_topics": count["topics"],
        "reordered": kept_order != unedited,
    }
    named = {name for kind in ("added", "edited", "renumbered") for name in train.examples.get(kind, ())}
    assert named <= {row["id"] for row in after}
    removed = [row["id"] for row, edit in zip(before, edits, strict=True) if edit == "remove"]
    assert train.examples.get("removed", ()) == tuple(removed[:3])


def test_a_row_inserted_among_numbered_rows_is_one_row(tmp_path: Path) -> None:
    """Ids that are numbers of rows shift by one behind it: no dialogue behind it was edited."""
    before = numbered(9)
    texts = [*before[:4], dataset_row("", "A: in between\nB: yes", "It is in between."), *before[4:]]
    after = [row | {"id": f"train_{i}"} for i, row in enumerate(texts)]
    train = compare_datasets(write_dataset(tmp_path / "a", before), write_dataset(tmp_path / "b", after)).splits[
        "train"
    ]
    assert train == SplitChanges(
        rows_before=9,
        rows_after=10,
        added=1,
        renumbered=5,
        examples={"added": ("train_4",), "renumbered": ("train_5", "train_6", "train_7")},
    )


def test_an_edited_reference_is_found_although_all_ids_shift(tmp_path: Path) -> None:
    """Row 5 gets another reference, and its id, a number of rows, becomes that of row 6."""
    before = numbered(9)
    first = dataset_row("", "A: at the top\nB: yes", "It is new.")
    texts = [first, *before[:5], edited(before[5], "references"), *before[6:]]
    after = [row | {"id": f"train_{i}"} for i, row in enumerate(texts)]
    train = compare_datasets(write_dataset(tmp_path / "a", before), write_dataset(tmp_path / "b", after)).splits[
        "train"
    ]
    assert (train.added, train.removed, train.renumbered) == (1, 0, 8)
    assert (train.edited, train.edited_dialogues, train.examples["edited"]) == (1, 0, ("train_6",))


def test_equal_dialogues_are_matched_once_each(tmp_path: Path) -> None:
    """Of three copies of a dialogue with different references, one is removed and one gets another reference."""
    copies = [dataset_row(name, "A: hi\nB: ho", f"Reference {name}.") for name in ("x", "y", "z")]
    after = [copies[0], copies[2] | {"references": ["Another one."]}]
    changes = compare_datasets(write_dataset(tmp_path / "a", copies), write_dataset(tmp_path / "b", after))
    train = changes.splits["train"]
    assert (train.added, train.removed, train.edited, train.edited_references, train.renumbered) == (0, 1, 1, 1, 0)
    assert train.examples == {"removed": ("y",), "edited": ("z",)}


def test_every_split_is_compared(tmp_path: Path) -> None:
    """The test and the validation split too; an unchanged one has no changes."""
    before = write_dataset(tmp_path / "a", numbered(3), test=numbered(4), validation=numbered(2))
    after = write_dataset(tmp_path / "b", numbered(3), test=numbered(5), validation=numbered(1))
    splits = compare_datasets(before, after).splits
    counts = {name: (split.added, split.removed, split.changed) for name, split in splits.items()}
    assert counts == {"train": (0, 0, False), "validation": (0, 1, True), "test": (1, 0, True)}


def test_lengths_and_speakers_are_those_of_the_training_rows(tmp_path: Path) -> None:
    """Against Python's statistics, on dialogues of 3 to 40 words with one to three speakers."""
    words, speakers = [3, 5, 9, 12, 40], [1, 2, 3, 2, 1]
    rows = []
    for i, (length, count) in enumerate(zip(words, speakers, strict=True)):
        turns = [f"S{n}:" for n in range(count)]
        turns[-1] += " w" * (length - count)
        rows.append(dataset_row(str(i), "\n".join(turns), "a b", "c d e f"))
    changes = compare_datasets(write_dataset(tmp_path / "a", rows), write_dataset(tmp_path / "b", numbered(1)))
    expected = [
        (fmean(values), median(values), quantiles(values, n=20, method="inclusive")[-1])
        for values in (words, [2, 4] * 5, speakers)
    ]
    before = changes.before
    for (mean, middle, high), found in zip(
        expected, (before.dialogue_words, before.reference_words, before.speakers), strict=True
    ):
        assert found == Distribution(mean=round(mean, 2), median=middle, percentile95=round(high, 2))
    assert changes.after.dialogue_words.mean == 6


def test_topics_that_come_go_grow_and_shrink(tmp_path: Path) -> None:
    """Of ten dialogues before and ten after, by hand; case and spacing do not count."""

    def with_topics(names: str) -> list[DatasetRow]:
        return [row | {"topics": [topic]} for row, topic in zip(numbered(10), names.split(), strict=True)]

    before = with_topics("food food food food way way way job old old")
    after = with_topics("food Food  way way way way way job new new")
    topics = compare_datasets(write_dataset(tmp_path / "a", before), write_dataset(tmp_path / "b", after)).topics
    assert (topics.new, topics.most_frequent_new) == (1, ("new",))
    assert (topics.vanished, topics.most_frequent_vanished) == (1, ("old",))
    assert [(each.topic, each.before, each.after) for each in topics.shares] == [("food", 0.4, 0.2), ("way", 0.3, 0.5)]


@pytest.mark.parametrize(
    ("dialogue", "reference", "words", "unseen"),
    [
        ("A: hello zoom\nB: Zoom, good zoom", "They say zoom and vlog.", 12, {"zoom": 4, "and": 1, "vlog": 1}),
        ("A: Good hello.\nB: Hello, good", "They say good.", 9, {}),
        ("A: 你好\nB: hello", "They say 你.", 8, {"你": 2, "好": 1}),
    ],
)
def test_unseen_words_are_those_that_no_earlier_training_text_has(
    tmp_path: Path, dialogue: str, reference: str, words: int, unseen: dict[str, int]
) -> None:
    """Counted by hand in the added row; the words of the test split are no training words."""
    before = write_dataset(tmp_path / "a", numbered(3), test=[dataset_row("t", "A: zoom and vlog 你好", "Zoom.")])
    after = write_dataset(tmp_path / "b", [*numbered(3), dataset_row("new", dialogue, reference)])
    found = compare_datasets(before, after).unseen_words
    assert (found.words, found.unseen, found.most_frequent) == (words, sum(unseen.values()), unseen)
    assert found.share == pytest.approx(sum(unseen.values()) / words)


def test_a_comparison_with_the_champion_has_changes_only_if_there_are_some(tmp_path: Path) -> None:
    """The same dataset, one with the same rows in other files, a lost one, and a changed one."""
    data, same = write_dataset(tmp_path / "a", numbered(3)), write_dataset(tmp_path / "b", numbered(3))
    more, champion = write_dataset(tmp_path / "c", numbered(4)), ChampionData(champion="train-1a2b3c4d")
    unchanged = "The data is the same as when train-1a2b3c4d was trained."
    for earlier in (None, same):
        found = compare_with_champion(champion, data, earlier)
        assert (found.champion, found.sentence, found.changes) == ("train-1a2b3c4d", unchanged, None)
    lost = ChampionData(champion="train-1a2b3c4d", not_compared="download-5e6f7a8b is missing or damaged")
    assert compare_with_champion(lost, data, None).sentence == (
        "The data was not compared with that of train-1a2b3c4d: download-5e6f7a8b is missing or damaged."
    )
    changed = compare_with_champion(champion, more, data)
    assert changed.sentence == "Since train-1a2b3c4d was trained: 1 training dialogue added."
    assert changed.changes == compare_datasets(data, more)

"""bench names on a few judged summaries, counted by hand."""

import csv
from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import RequestError
from flows.benchmarks.earlier_names import earlier_names, was_applied
from flows.benchmarks.judged_summaries import dialogsum_labels, samples, with_changed_numbers, with_swapped_speakers
from flows.benchmarks.names import bench_names, interval
from tests.support.languages import GERMAN

DIALOGUE = "#Person1#: Tom, it costs 30 dollars and the big cat asks the small dog.\n#Person2#: No."


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as lines:
        table = csv.DictWriter(lines, rows[0].keys())
        table.writeheader()
        table.writerows(rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """DialogSum and SAMSum in small."""
    rows = [{"id": f"test_{i}_1", "dialogue": DIALOGUE, "summary": "the cat asks the dog"} for i in range(2)]
    for split in ("train", "validation", "test"):
        write(tmp_path / "dialogsum" / f"{split}.csv", rows)
    judged = [
        ("the cat asks Tim for 40 dollars", "the cat asks Tom for 30 dollars"),
        ("the cat asks Tom for 30 dollars", "the cat asks Tom for 30 dollars"),
        ("the dog asks Quentin", "the dog asks Quentin"),
    ]
    labels = [
        {"dialogue_id": "test_0", "system": "a", "summary": summary, "corrected": corrected}
        for summary, corrected in judged
    ]
    write(tmp_path / "faithfulness" / "dialogsum_outputs.csv", labels)
    samsum = [
        {"dialogue_id": "1", "system": system, "dialogue": f"{name}: it costs 12 euros", "summary": summary}
        | {"error": error, "types": types}
        for system, name, summary, error, types in (
            ("human_ref", "Amy", "for Amy it costs 12 euros", "0", ""),
            ("human_ref", "Ben", "for Ben it costs 12 euros", "0", ""),
            ("bart", "Amy", "it costs Ben 12 euros", "1", "SubObjE"),
            ("bart", "Ben", "it costs Ben 12 euros", "0", ""),
        )
    ]
    write(tmp_path / "faithfulness" / "samsum_outputs.csv", samsum)
    return tmp_path


def test_words_that_people_removed_are_the_wrong_ones(folder: Path) -> None:
    """`Tim` and `40` were replaced, `Quentin` was left in."""
    first, second, third = dialogsum_labels(folder).judged
    assert (first.names, first.numbers, first.wrong) == ({"Tim"}, {"40"}, {"Tim", "40"})
    assert second.wrong == third.wrong == frozenset()


def test_table_counts_right_words_and_false_alarms(folder: Path) -> None:
    rows, remark = bench_names(folder)
    table = {(row["data"], row["kind"], row["measure"]): row for row in rows}
    ours = table["DialogSum, four systems", "names and speakers", "ours"]
    assert ours["precision"].startswith("1/2 0.500 ")  # Tim is wrong, Quentin was left in
    assert ours["recall"].startswith("1/1 ")
    assert table["DialogSum, four systems", "numbers", "ours"]["precision"].startswith("1/1 ")
    samsum = table["SAMSum, four systems, whole summaries", "names and speakers", "ours"]
    assert (samsum["precision"][:4], samsum["recall"][:4]) == ("1/1 ", "1/1 ")
    assert table["SAMSum: human references", "numbers", "ours"]["false alarms"].startswith("0/2 ")
    assert remark.startswith("2 dialogues: ")


def test_samples_alone_need_no_data() -> None:
    rows, remark = bench_names(None)
    assert {row["data"] for row in rows} == {data.name for data in samples()}
    assert "--data" in remark


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"no file test\.csv"):
        bench_names(tmp_path)


def test_samples_of_german_and_russian_have_thirty_dialogues() -> None:
    """Each with a correct and a wrong summary; the words that are wrong stand in the wrong one."""
    for data in samples():
        assert len(data.judged) == 2 * len(data.dialogues)
        assert all(word in each.summary for each in data.judged for word in each.wrong if data.name != "chinese")
    assert {len(data.dialogues) for data in samples() if data.name in ("german", "russian")} == {30}


def test_constructed_errors_are_not_in_the_dialogue() -> None:
    data = next(data for data in samples() if data.name == "german")
    for changed in (with_swapped_speakers(data), with_changed_numbers(data)):
        assert changed.judged
        for each in changed.judged:
            (word,) = each.wrong
            assert word in each.summary
            assert word not in each.dialogue


@pytest.mark.parametrize(
    ("count", "total", "expected"),
    [(0, 0, "-"), (9, 10, "9/10 0.900 (0.596 to 0.982)"), (0, 10, "0/10 0.000 (0.000 to 0.278)")],
)
def test_wilson_intervals_are_those_of_the_textbook(count: int, total: int, expected: str) -> None:
    assert interval(count, total) == expected


def test_the_earlier_measure_counts_german_nouns_and_was_not_applied() -> None:
    """What the table compares with: every noun of a free summary that the dialogue does not have."""
    dialogue, summary, _ = GERMAN[5]
    assert earlier_names(summary, dialogue, frozenset()) == ["Beleg"]
    assert not was_applied([row[0] for row in GERMAN], [list(row[1:]) for row in GERMAN], frozenset())

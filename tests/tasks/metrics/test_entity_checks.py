"""Which checks a data set allows: its human references decide."""

import csv
from pathlib import Path

import pytest

from flows.benchmarks.judged_summaries import SAMPLES
from tasks.metrics.entity_checks import entity_checks
from tasks.metrics.score_table import NAMES_MEASURE, NUMBERS_MEASURE, SPEAKERS_MEASURE

FILES = sorted(SAMPLES.glob("*.csv"))


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_found_words_of_the_samples_are_wrong_ones(file: Path) -> None:
    """Precision and recall are at least 0.9 on summaries that were judged by hand, in every language of the samples."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    checks = entity_checks([row["dialogue"] for row in rows], [[row["correct"]] for row in rows])
    found, right, wrong = 0, 0, 0
    for row in rows:
        for kind, find in (("names", checks.speaker_errors), ("numbers", checks.number_errors)):
            words, labels = find(row["wrong"], row["dialogue"]) or [], set(filter(None, row[kind].split(";")))
            found += len(words) + len(find(row["correct"], row["dialogue"]) or [])
            right, wrong = right + len(labels & {*words}), wrong + len(labels)
    assert right / found >= 0.9
    assert right / wrong >= 0.9


def test_numbers_are_not_checked_where_people_break_the_measure() -> None:
    """References that say other numbers than their dialogues: the check is left out, with the share."""
    dialogues = [f"A: it costs {i} euros" for i in range(30, 70)]
    checks = entity_checks(dialogues, [["it costs 7 euros"]] * 10 + [["it is cheap"]] * 30)
    assert checks.not_applied == {NUMBERS_MEASURE: "25.0 % of the human references have some as well"}
    assert checks.number_errors("it costs 3 euros", dialogues[0]) is None


def test_speakers_are_not_checked_where_people_break_the_measure() -> None:
    """Dialogues of one conversation, whose summaries name everybody."""
    dialogues = [f"{name}: hello there\n{name}: bye then" for name in ("Amy", "Ben", "Cal", "Dee") * 10]
    checks = entity_checks(dialogues, [["hello from Amy"]] * 40)
    assert SPEAKERS_MEASURE not in checks.not_applied  # `Amy` is then a word that anybody may use
    assert NAMES_MEASURE in checks.not_applied
    assert checks.speaker_errors("hello from Amy", dialogues[1]) == []


def test_tags_count_in_every_data_set() -> None:
    checks = entity_checks(["#Person1#: hi"] * 30, [["#Person2# says hi"]] * 30)
    assert checks.not_applied == {}
    assert checks.speaker_errors("#Person2# says hi", "#Person1#: hi") == ["#Person2#"]


def test_scripts_without_capitals_are_named_as_the_reason() -> None:
    checks = entity_checks(["小明：你好。\n李娜：好。"], [["小明好。"]])
    assert checks.not_applied == {
        NAMES_MEASURE: "the script has no capital letters, so only speakers of other dialogues are checked"
    }

"""Checks of a dataset: each finds the rows that were planted, and nothing in plain rows."""

from pathlib import Path
from statistics import median

import pytest

from artifacts.check import Check
from tasks.data.compare_datasets import compare_datasets
from tasks.data.dataset_checks import check_dataset
from tests.support.datasets import DatasetRow, dataset_row, write_dataset
from tests.support.hostile_texts import HOSTILE_TEXTS
from tests.support.parallel_data import NAMES, SCENES


def plain_rows(count: int = 20) -> list[DatasetRow]:
    """Different dialogues, with different summaries, of ordinary length."""
    a, b = NAMES["English"][0]
    rows = []
    for i in range(count):
        dialogue, summary = SCENES["English"][i % len(SCENES["English"])]
        said = [text.format(a=a, b=b, n=i) for text in (dialogue, summary)]
        rows.append(dataset_row(f"train_{i}", f"{said[0]}\n{a}: It is number {i}, {i}.", f"{said[1]} Number {i}."))
    return rows


def notes(folder: Path, *planted: DatasetRow, test: list[DatasetRow] | None = None) -> dict[str, str]:
    """Name -> sentence of each note about twenty plain rows and those that were planted."""
    checks = check_dataset(write_dataset(folder, [*plain_rows(), *planted], test))
    return {check.name: check.detail for check in checks if check.state != "ok"}


def test_plain_rows_cause_no_note_and_the_checks_are_named(tmp_path: Path) -> None:
    """The first line names all that was looked for; none of it is there."""
    checks = check_dataset(write_dataset(tmp_path, plain_rows()))
    assert [(check.name, check.state) for check in checks] == [("training data", "ok"), ("language", "ok")]
    assert checks[0].detail.startswith("no duplicates, near-duplicates, short dialogues, long dialogues, ")


def test_duplicates_are_counted_by_their_words(tmp_path: Path) -> None:
    """Case, punctuation, layout and speakers make no other dialogue; other references are counted."""
    first = plain_rows()[2]
    shouted = dataset_row("loud", first["dialogue"].upper().replace(". ", "!  "), *first["references"])
    renamed = dataset_row(
        "renamed", first["dialogue"].replace("Anna:", "X:").replace("Peter:", "Y:"), "They wait for the plumber today."
    )
    found = notes(tmp_path, shouted, renamed)
    assert list(found) == ["duplicates"]
    assert found["duplicates"].startswith(
        "the words of an earlier dialogue in 2 of 22 training dialogues "
        "(loud repeats train_2, renamed repeats train_2): 1 have other references;"
    )


LONG = "word " * 99
FIVE = "#Person1#: I have {n} very good new ideas.\n#Person2#: Tell me all about them, please."


@pytest.mark.parametrize(
    ("planted", "name", "sentence"),
    [
        (
            dataset_row("x", "#Person1#: Hi there, you.\n#Person2#: Oh.", "They meet each."),
            "short dialogues",
            "fewer than 5 spoken words in 1 of 21 training dialogues (x)",
        ),
        (
            dataset_row("x", f"#Person1#: {LONG}\n#Person2#: {LONG * 2}", "They say many words."),
            "long dialogues",
            "more than 10 times the median of {dialogue_words:.0f} words in 1 of 21 training dialogues (x with 299)",
        ),
        (
            dataset_row("x", "#Person1#: Did you see it? #Person2#: Yes, it was good.", "They saw something."),
            "dialogues of one line",
            "one line only in 1 of 21 training dialogues (x)",
        ),
        (
            dataset_row("x", "Did you see it today?\nYes, it was very good.", "They saw something."),
            "dialogues without speakers",
            "no speaker at the start of a line in 1 of 21 training dialogues (x)",
        ),
        (
            dataset_row("x", FIVE.format(n=5), "Two ideas.", "They have ideas."),
            "short references",
            "fewer than 3 words in 1 of 22 references (x)",
        ),
        (
            dataset_row("x", FIVE.format(n=5) + " " + "more " * 200, "word " * 180),
            "long references",
            "more than 10 times the median of {reference_words:.0f} words in 1 of 21 references (x with 180)",
        ),
        (
            dataset_row("x", FIVE.format(n=5), "They " + "talk " * 16),
            "references as long as the dialogue",
            "a reference with at least as many words as the dialogue in 1 of 21 training dialogues (x)",
        ),
        (
            dataset_row("x", FIVE.format(n=5), FIVE.format(n=5).replace("\n", " ").replace("#Person2#: ", "")),
            "copied references",
            "the dialogue itself as reference in 1 of 21 training dialogues (x)",
        ),
    ],
)
def test_a_planted_row_is_found_and_named(tmp_path: Path, planted: DatasetRow, name: str, sentence: str) -> None:
    """Beside its id, the figures by which it was found."""
    rows = [*plain_rows(), planted]
    medians = {
        "dialogue_words": median(len(row["dialogue"].split()) for row in rows),
        "reference_words": median(len(row["references"][0].split()) for row in rows),
    }
    assert notes(tmp_path, planted).get(name, "").startswith(f"{sentence.format(**medians)}: ")


@pytest.mark.parametrize(("count", "found"), [(4, False), (5, True)])
def test_a_reference_is_boilerplate_if_five_different_dialogues_share_it(
    tmp_path: Path, count: int, found: bool
) -> None:
    """Copies of one dialogue with one reference are duplicates, not boilerplate."""
    shared = [dataset_row(f"x{i}", FIVE.format(n=i), "They have a talk.") for i in range(count)]
    copies = [dataset_row(f"y{i}", FIVE.format(n=99), "He has many ideas.") for i in range(9)]
    sentence = notes(tmp_path, *shared, *copies).get("repeated references", "")
    expected = f"a reference that at least 5 different dialogues share in {count} of {29 + count} training dialogues"
    assert sentence.startswith(f"{expected} (x0, x1, x2, …): ") is found
    assert bool(sentence) is found


def test_near_duplicates_and_languages_of_the_test_split_are_checked(tmp_path: Path) -> None:
    """A training dialogue in the test split with one more turn, and another in German."""
    a, b = NAMES["German"][0]
    german = "\n".join(dialogue.format(a=a, b=b, n=3) for dialogue, _ in SCENES["German"])
    copy = plain_rows()[0] | {"id": "test_0", "dialogue": plain_rows()[0]["dialogue"] + "\nAnna: Bye!"}
    others = [plain_rows(60)[i] | {"id": f"test_{i}"} for i in range(21, 24)]
    test = [copy, *others, dataset_row("test_9", german, "Ein Kurztext.")]
    found = notes(tmp_path, test=test)
    assert "test_0 and train_0" in found["near-duplicates"]
    assert "1 de (test_9)" in found["language"]


def test_any_text_can_be_checked_and_compared(tmp_path: Path) -> None:
    """Texts without words, lines or letters too: nothing fails, and each row is counted."""
    rows = [dataset_row(f"{i} {text}", text, text, topics=[text]) for i, text in enumerate(HOSTILE_TEXTS)]
    dataset = write_dataset(tmp_path / "a", rows, test=rows)
    assert all(check.detail for check in check_dataset(dataset))
    changes = compare_datasets(write_dataset(tmp_path / "b", [dataset_row("x", "A: a", "b")]), dataset)
    assert (changes.splits["train"].added, changes.splits["train"].removed) == (len(rows), 1)


def test_findings_are_notes_that_pass_through_json(tmp_path: Path) -> None:
    """No finding of the data ends a run."""
    checks = check_dataset(write_dataset(tmp_path, [dataset_row("x", "A: a", "b")]))
    assert {check.state for check in checks} == {"ok", "note"}
    assert [Check.from_dict(check.as_dict()).detail for check in checks] == [check.detail for check in checks]

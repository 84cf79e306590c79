"""Languages: planted texts are found and named, and texts in one language cause no note."""

from collections.abc import Iterable
from itertools import product

import pytest

from artifacts.check import Check
from tasks.data.dialogue_row import DialogueRow
from tasks.data.languages import Languages, possible_languages
from tests.support.data import read_csv
from tests.support.parallel_data import NAMES, SCENES
from tests.support.paths import SAMPLE

CODES = {"English": "en", "German": "de", "Russian": "ru", "Chinese": "zh"}


def rows(language: str, prefix: str = "row") -> list[DialogueRow]:
    """Two scenes each, so that every text is long enough to be judged."""
    a, b = NAMES[language][0]
    texts = [(dialogue.format(a=a, b=b, n=7), summary.format(a=a, b=b, n=7)) for dialogue, summary in SCENES[language]]
    pairs = [
        (f"{first[0]}\n{second[0]}", f"{first[1]} {second[1]}")
        for first, second in product(texts, texts)
        if first != second
    ]
    return [DialogueRow(f"{prefix}_{i}", dialogue, [summary], [""]) for i, (dialogue, summary) in enumerate(pairs)]


def checks(train: Iterable[DialogueRow], test: Iterable[DialogueRow] = ()) -> list[Check]:
    languages = Languages()
    for split, dialogues in (("train", train), ("test", test)):
        for row in dialogues:
            languages.add(split, row)
    return languages.checks()


@pytest.mark.parametrize("language", SCENES)
def test_texts_in_one_language_cause_no_note(language: str) -> None:
    (check,) = checks(rows(language), rows(language))
    code = CODES[language]
    assert check.state == "ok"
    assert check.detail.startswith(f"dialogues {code}, references {code}; ")


def test_the_sample_is_english() -> None:
    """Dialogues and references that people wrote."""
    data = {
        split: [
            DialogueRow(row["id"], row["dialogue"], [row["summary"]], [""]) for row in read_csv(SAMPLE / f"{split}.csv")
        ]
        for split in ("train", "test")
    }
    (check,) = checks(**data)
    assert check.state == "ok"
    assert check.detail.startswith("dialogues en, references en; ")


@pytest.mark.parametrize("language", ["German", "Russian", "Chinese"])
def test_planted_rows_in_another_language_are_counted_by_language_and_named(language: str) -> None:
    """Four rows among thirty in English, some of them of one short sentence."""
    planted = rows(language, "planted")[:4]
    dialogues, references = checks([*rows("English")[:10], *planted, *rows("English")[10:]])
    code = CODES[language]
    ids = "planted_0, planted_1, planted_2, …"
    assert (
        f"training dialogues in another language than most, en: 4 {code} ({ids}) of 34, of which 0 are too"
        in dialogues.detail
    )
    assert f"training references in another language than most, en: 4 {code} ({ids}) of 34" in references.detail
    assert {dialogues.state, references.state} == {"note"}


def test_a_test_split_in_another_language_is_a_note() -> None:
    found = checks(rows("English"), rows("German"))
    assert [check.state for check in found] == ["note", "note"]
    assert found[0].detail.startswith("most training dialogues are in en, most test dialogues in de: ")
    assert found[1].detail.startswith("most training references are in en, most test references in de: ")


def test_a_text_that_may_well_be_in_the_usual_language_is_no_other() -> None:
    """An English sentence of names, numbers and months, for which Nigerian Pidgin is more probable than English."""
    text = "Nora Brown calls Grand Hotel to book three double rooms from October 4th to October 9th."
    assert possible_languages(text)[0] != "en"
    (check,) = checks([*rows("English"), DialogueRow("x", f"A: {text}", [text], [""])])
    assert check.state == "ok"


@pytest.mark.parametrize(
    "text", ["", "Ciao, come stai?", "12 34 56 78 90 11 22 33 44 55 66", "Hahaha lol ok ok haha ok", "#1# %% 😀 " * 20]
)
def test_texts_that_are_short_or_have_no_words_have_no_language(text: str) -> None:
    assert possible_languages(text) == ()

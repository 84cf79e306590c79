"""What texts say about their names, in a few dialogues written for this."""

import pytest

from tasks.metrics.name_evidence import label_words, lowercase_words, name_evidence
from tests.support.languages import GERMAN, RUSSIAN


@pytest.mark.parametrize("count", [1, 4, 10])
def test_german_is_known_by_its_words(count: int) -> None:
    for language, expected in ((GERMAN, True), (RUSSIAN, False)):
        dialogues, references = [row[0] for row in language[:count]], [list(row[1:]) for row in language[:count]]
        evidence = name_evidence(dialogues, references, frozenset())
        assert evidence.capitalises_nouns is expected
        assert evidence.has_capitals


def test_titles_of_works_do_not_make_a_language_of_capitalised_nouns() -> None:
    """Many capitals, but few different ones."""
    texts = ["Amy: we saw Star Wars, The Lion King, New York"] * 30
    assert not name_evidence(texts, [["x"]] * 30, lowercase_words(texts, [])).capitalises_nouns


@pytest.mark.parametrize(
    ("dialogue", "words"),
    [
        ("Anna: hi\nBob Smith: hi", {"Anna", "Bob", "Smith"}),
        ("Анна: привет", {"Анна"}),
        ("Mr. Kim: hi", {"Kim"}),
        ("#Person1#: hi", set()),
        ("Guest B: hi\nSpeaker 2: hi", set()),
        ("it is 12:30 now\nsee https://x.org", set()),
        ("amy: hi", set()),
    ],
)
def test_labels_of_speakers(dialogue: str, words: set[str]) -> None:
    assert label_words(dialogue, cased=True) == words


def test_labels_in_scripts_without_capitals() -> None:
    """With a colon of full width."""
    assert label_words("小明：你好。\n李娜: 好", cased=False) == {"小明", "李娜"}


def test_a_label_that_references_use_elsewhere_is_no_name() -> None:
    """A person who writes a summary names nobody who is not in the dialogue."""
    dialogues = ["Coach: run\nAmy: yes", "Ben: stop\nCal: no"]
    assert set(name_evidence(dialogues, [["Amy runs."], ["The Coach stops."]], frozenset()).speakers) == {
        "amy",
        "ben",
        "cal",
    }

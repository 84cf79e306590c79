"""Number words of the languages that num2words has."""

import pytest
from num2words import num2words

from tasks.metrics.number_words import number_language, number_words, read_number


@pytest.mark.parametrize(
    ("language", "thousand"), [("en", "thousand"), ("de", "tausend"), ("ru", "тысяч"), ("tr", "bin"), ("fi", "tuhatta")]
)
def test_words_for_a_thousand_are_found_in_what_num2words_writes(language: str, thousand: str) -> None:
    assert number_words(language).multipliers[thousand] == 1000


@pytest.mark.parametrize(
    "language", ["en", "de", "ru", "fi", "tr", "fr", "es", "it", "nl", "pl", "cs", "uk", "sv", "da"]
)
def test_the_language_of_a_text_is_told_by_its_number_words(language: str) -> None:
    """Related languages share words: Swedish may be read as Norwegian, but the numbers are the same."""
    texts = [str(num2words(number, lang=language)) for number in (2, 3, 7, 8, 12, 20, 30)]
    found = number_language(texts)
    assert found is not None
    assert all(read_number(tuple(text.split()), found) == read_number(tuple(text.split()), language) for text in texts)


def test_a_text_without_number_words_has_no_language() -> None:
    """`once` is eleven in Spanish; one word is not enough."""
    assert number_language(["once upon a time", "the cat sat"]) is None
    assert number_language([]) is None


@pytest.mark.parametrize(
    ("words", "number"), [("twenty one", 21), ("a hundred", 100), ("cat", None), ("two cats", None)]
)
def test_words_are_read_as_a_whole_or_not_at_all(words: str, number: float | None) -> None:
    assert read_number(tuple(words.split()), "en") == number

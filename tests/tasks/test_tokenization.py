"""Words for ROUGE: rouge_score's own where letters are ASCII, whole words of every script elsewhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.stem import porter
from rouge_score import tokenize

from tasks.tokenization import has_other_letters, words

STEMMER = porter.PorterStemmer()


@given(st.text(st.characters(max_codepoint=127) | st.sampled_from("’“”…—–•€")))
def test_texts_with_ascii_letters_have_the_tokens_of_rouge_score(text: str) -> None:
    assert not has_other_letters(text)
    for stemmer in (None, STEMMER):
        assert words(text, stemmer.stem if stemmer else None, False) == tokenize.tokenize(text, stemmer)


@given(st.text(st.characters(max_codepoint=127)))
def test_unicode_words_of_ascii_texts_are_those_of_rouge_score(text: str) -> None:
    """So that one accent in a reference changes only the word that has it."""
    assert words(text, STEMMER.stem, True) == tokenize.tokenize(text, STEMMER)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Müller & Söhne", ["müller", "söhne"]),
        ("बिल्ली सोती", ["बिल्ली", "सोती"]),
        ("東京へ", ["東", "京", "へ"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("Анна_2 ждёт", ["анна", "2", "ждёт"]),
    ],
)
def test_words_of_other_scripts_are_whole(text: str, expected: list[str]) -> None:
    assert has_other_letters(text)
    assert words(text, None, True) == expected

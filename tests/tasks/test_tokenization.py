"""Tokens: rouge_score's own where letters are ASCII, whole words of every script elsewhere, or characters."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nltk.stem import porter
from rouge_score import tokenize as rouge_tokenize

from tasks.tokenization import has_other_letters, length_in_words, tokenize, tokenizer_for, words

STEMMER = porter.PorterStemmer()
ASCII = st.text(st.characters(max_codepoint=127))
TYPOGRAPHY = st.text(st.characters(max_codepoint=127) | st.sampled_from("’“”…—–•€"))
SPACED = st.text(st.characters(categories=["L", "N", "M", "P", "Z"], max_codepoint=0x0DFF))
"""Texts in scripts with spaces: Latin, Cyrillic, Arabic, Devanagari and others."""


@given(TYPOGRAPHY)
def test_texts_with_ascii_letters_have_the_tokens_of_rouge_score(text: str) -> None:
    assert tokenizer_for("auto", [text]) == "ascii"
    for stemmer in (None, STEMMER):
        stem = stemmer.stem if stemmer else None
        assert tokenize(text, "ascii", stem) == rouge_tokenize.tokenize(text, stemmer)


@given(ASCII)
def test_unicode_words_of_ascii_texts_are_those_of_rouge_score(text: str) -> None:
    """So that one accent in a reference changes only the word that has it."""
    assert tokenize(text, "unicode", STEMMER.stem) == rouge_tokenize.tokenize(text, STEMMER)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Müller & Söhne", ["müller", "söhne"]),
        ("बिल्ली सोती", ["बिल्ली", "सोती"]),
        ("東京へ", ["東", "京", "へ"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("Tokyo2020東京", ["tokyo2020", "東", "京"]),
        ("Анна_2 ждёт", ["анна", "2", "ждёт"]),
        ("서울에서 만나요", ["서울에서", "만나요"]),
        ("שלום, עולם!", ["שלום", "עולם"]),
        ("e\u0301te\u0301", ["été"]),
    ],
)
def test_words_of_other_scripts_are_whole(text: str, expected: list[str]) -> None:
    assert has_other_letters(text)
    assert tokenizer_for("auto", ["plain", text]) == "unicode"
    assert tokenize(text, "unicode") == expected


@given(SPACED)
def test_no_letter_is_lost_and_no_sign_becomes_a_token(text: str) -> None:
    """Words, characters and the text itself have the same letters and digits, in the same order."""
    folded = unicodedata.normalize("NFKC", text).lower()
    expected = [c for c in folded if unicodedata.category(c)[0] in "LN"]
    for tokenizer in ("unicode", "characters"):
        tokens = tokenize(text, tokenizer)  # type: ignore[arg-type]
        assert [c for token in tokens for c in token if unicodedata.category(c)[0] in "LN"] == expected
        assert all(unicodedata.category(token[0])[0] in "LN" for token in tokens)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Ja, 2!", ["j", "a", "2"]), ("हिन्दी", ["हि", "न्", "दी"]), ("東京", ["東", "京"])],
)
def test_characters_keep_their_combining_marks(text: str, expected: list[str]) -> None:
    assert tokenize(text, "characters") == expected
    assert tokenizer_for("characters", ["plain"]) == "characters"


@given(st.text(st.characters(max_codepoint=0x2FF, exclude_categories=["M"]) | st.sampled_from("’…—")))
def test_words_for_counting_keep_apostrophes_and_hyphens(text: str) -> None:
    """In scripts with spaces and without combining marks, a regular expression of the standard library finds them."""
    folded = unicodedata.normalize("NFC", text).lower()
    if not any(unicodedata.category(c) == "Mn" for c in folded):  # İ in small letters has one
        assert words(text) == re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", folded)


@given(st.text(st.characters(max_codepoint=0x2FF)))
def test_a_text_with_spaces_is_as_long_as_its_parts(text: str) -> None:
    assert length_in_words(text) == len(text.split())


def test_the_length_of_a_text_without_spaces_is_that_of_its_characters() -> None:
    assert length_in_words("小明：你好，Anna。") == 5

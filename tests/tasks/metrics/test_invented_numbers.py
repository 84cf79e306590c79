"""Numbers in every notation, and wrong ones, as a person reads them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from num2words import num2words

from tasks.metrics.invented_numbers import invented_numbers, numbers

SAME = [
    ("en", "a hundred and ninety dollars", "190"),
    ("en", "half past three", "3:30 pm"),
    ("en", "a quarter to four", "15:45"),
    ("en", "ten past eight", "8:10"),
    ("en", "3 pm", "15:00"),
    ("en", "15:30", "half past three"),
    ("en", "nineteen ninety-nine", "1999"),
    ("en", "in '99, or 1999", "ninety-nine"),
    ("en", "twelve hundred", "1,200"),
    ("en", "1,234.50", "1234.50"),
    ("en", "12 dollars 50 cents", "12.5"),
    ("en", "two thousand, three hundred and five", "2305"),
    ("en", "5k", "five thousand"),
    ("en", "two million", "2 000 000"),
    ("en", "the third of May", "3rd"),
    ("en", "50 %", "fifty percent"),
    ("en", "a dozen", "12"),
    ("en", "five five five one two three four", "5551234"),
    ("de", "halb vier", "15:30 Uhr"),
    ("de", "um drei", "15 Uhr"),
    ("de", "zweitausenddreihundert", "2.300"),
    ("de", "2,5", "2.5"),
    ("de", "hundertzwanzig", "120"),
    ("de", "am dritten Mai", "3. Mai"),
    ("de", "Viertel nach acht", "20:15"),
    ("ru", "в половине четвёртого", "15:30"),
    ("ru", "двадцати одного", "21"),
    ("ru", "две тысячи триста", "2 300"),
    ("ru", "третьего мая", "3-го"),
    ("ru", "сорок тысяч", "40 000"),
    ("tr", "saat üç buçukta", "15:30"),
    ("tr", "yirmi beş kişi", "25"),
    ("tr", "bin beş yüz lira", "1.500"),
    ("fi", "puoli neljältä", "15.30"),
    ("fi", "kaksikymmentäviisi", "25"),
    ("fr", "trente et un", "31"),
    ("es", "veintiuno", "21"),
    (None, "下午三点半", "15:30"),
    (None, "二百五十块", "250"),
    (None, "٢٥ شخصا", "25"),
    (None, "२५ लोग", "25"),
    (None, "３：３０", "3:30"),
]
WRONG = [
    ("en", "a hundred and ninety dollars", "180 dollars", ["180"]),
    ("en", "half past three", "at 5:30", ["5:30"]),
    ("en", "two thousand", "three thousand", ["three thousand"]),
    ("en", "3 and 4", "7 people", ["7"]),
    ("de", "halb vier", "um 17:30 Uhr", ["17:30"]),
    ("ru", "двадцать один", "тридцать один", ["тридцать один"]),
    (None, "二百五十块", "三百五十块", ["350"]),
]


@pytest.mark.parametrize(("language", "dialogue", "summary"), SAME)
def test_a_number_is_the_same_in_every_notation(language: str | None, dialogue: str, summary: str) -> None:
    assert numbers(summary, language) != []
    assert invented_numbers(summary, dialogue, language) == []


@pytest.mark.parametrize(("language", "dialogue", "summary", "wrong"), WRONG)
def test_wrong_numbers_are_found(language: str | None, dialogue: str, summary: str, wrong: list[str]) -> None:
    """Also those that could be computed: a sum is rarely what a summary says."""
    assert invented_numbers(summary, dialogue, language) == wrong


@pytest.mark.parametrize(
    "summary",
    ["two friends", "both agree", "#Person3# waits", "person3 and B52", "the first one", "no number", ""],
)
def test_what_says_little_is_no_error(summary: str) -> None:
    assert invented_numbers(summary, "hello", "en") == []


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["en", "de", "ru", "fi", "es", "pl", "it", "nl", "cs", "pt"]), st.integers(3, 999_999))
def test_words_and_digits_agree_in_both_directions(language: str, number: int) -> None:
    """num2words, an independent writer of numbers, says what they are in words."""
    words = str(num2words(number, lang=language))
    assert invented_numbers(f"{number}", words, language) == []
    assert invented_numbers(words, f"{number}", language) == []


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["en", "de", "ru"]), st.integers(3, 98), st.integers(100, 998))
def test_other_numbers_differ_in_both_directions(language: str, one: int, other: int) -> None:
    """No number of two digits says one of three."""
    assert invented_numbers(f"{other}", str(num2words(one, lang=language)), language) == [f"{other}"]
    assert invented_numbers(str(num2words(other, lang=language)), f"{one}", language) != []


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_read(summary: str, dialogue: str) -> None:
    """Without an error, and a text invents nothing of itself."""
    invented_numbers(summary, dialogue, "en")
    assert invented_numbers(summary, summary, "en") == []

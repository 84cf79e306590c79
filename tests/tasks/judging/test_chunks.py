"""Sentences of a summary and chunks of a dialogue: nothing of the text is lost, and no chunk is too long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.judging.chunks import chunks, sentences


def words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ("Tom asks Mr. Smith. He pays 3.50 dollars!", ["Tom asks Mr. Smith.", "He pays 3.50 dollars!"]),
        ("#Person1# waits. #Person2# comes.", ["#Person1# waits.", "#Person2# comes."]),
        ("今天下雨。他在家。", ["今天下雨。", "他在家。"]),
        ("no end", ["no end"]),
        ("One line\nand another", ["One line", "and another"]),
        (" \n ", []),
    ],
)
def test_a_summary_is_divided_at_the_ends_of_its_sentences(summary: str, expected: list[str]) -> None:
    assert sentences(summary) == expected


def test_a_chunk_begins_with_the_last_line_of_the_one_before() -> None:
    """A question at the end of a chunk is also at the beginning of the next, beside its answer."""
    assert chunks("a b\nc d?\ne f\ng", 4, words) == ["a b\nc d?", "c d?\ne f", "e f\ng"]


def test_a_line_that_is_too_long_is_divided() -> None:
    assert chunks("a b c d", 2, words) == ["a b", "c d"]


lines = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=9).map(" ".join), min_size=1, max_size=9)


@given(lines, st.integers(1, 8))
def test_chunks_have_every_word_in_order_and_are_short_enough(dialogue: list[str], most: int) -> None:
    found = chunks("\n".join(dialogue), most, words)
    assert all(words(chunk) <= most for chunk in found)
    remaining = iter(" ".join(found).split())
    assert all(word in remaining for word in " ".join(dialogue).split())  # a subsequence: lines may be repeated

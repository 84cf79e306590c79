"""Slices of the test dialogues: which dialogues each holds."""

from typing import Any

import numpy as np
import pytest

from tasks.metrics.slices import MAX_TOPICS, MIN_ROWS, slices


def rows_of(masks: list[tuple[str, str, Any]], kind: str) -> dict[str, list[int]]:
    return {name: np.flatnonzero(mask).tolist() for slice_kind, name, mask in masks if slice_kind == kind}


def test_thirds_by_length_hold_the_dialogues_that_their_names_say() -> None:
    """Lengths 1 to 20 words: thirds by hand, every dialogue in one of them, and no name that its lengths contradict."""
    by_name = rows_of(slices(["w " * (i + 1) for i in range(20)], [[]] * 20), "length")
    # quantiles 1/3 and 2/3 of 1..20 are 7.33 and 13.67
    assert by_name == {
        "up to 7 words": [*range(7)],
        "8 to 13 words": [*range(7, 13)],
        "over 13 words": [*range(13, 20)],
    }


def test_dialogues_of_one_length_are_one_slice() -> None:
    """Ties are not torn apart."""
    assert rows_of(slices(["a b c"] * 12, [[]] * 12), "length") == {"up to 3 words": [*range(12)]}


def test_speakers_are_counted_by_name() -> None:
    """Each once, however often they speak; a colon within a line makes no speaker; one line without any has none."""
    one, two, three = "#Person1#: a\n#Person1#: at 10:30", "Ann: a\n Bob : b\nAnn: c", "A: x\nB: y\nC C: z"
    by_name = rows_of(slices([one, two, three, two, one] * 5 + ["nobody"] * 5, [[]] * 30), "speakers")
    assert by_name == {
        "0 speakers": [*range(25, 30)],
        "1 speaker": [i for i in range(25) if i % 5 in (0, 4)],
        "2 speakers": [i for i in range(25) if i % 5 in (1, 3)],
        "3 speakers": [i for i in range(25) if i % 5 == 2],
    }


def test_topics_are_the_most_frequent_ones_whatever_their_case() -> None:
    """A dialogue counts once for a topic that all its annotators gave; strongest first, then by name."""
    topics = [["Work", "work ", "WORK"]] * 6 + [["home", "", "work"]] * 5 + [["lonely"]] * (MIN_ROWS - 1)
    by_name = slices(["a"] * len(topics), topics)
    assert rows_of(by_name, "topic") == {"work": [*range(11)], "home": [*range(6, 11)]}
    many = [[f"topic {i % 12:02}"] for i in range(12 * MIN_ROWS)]
    assert [*rows_of(slices(["a"] * len(many), many), "topic")] == [f"topic {i:02}" for i in range(MAX_TOPICS)]


@pytest.mark.parametrize("rows", [1, 4, 5])
def test_slices_too_small_to_say_anything_are_left_out(rows: int) -> None:
    """A slice with fewer than five dialogues is left out."""
    by_name = slices(["#Person1#: hello"] * rows, [["talk"]] * rows)
    assert len(by_name) == (3 if rows >= MIN_ROWS == 5 else 0)
    assert all(mask.sum() >= 5 for _, _, mask in by_name)

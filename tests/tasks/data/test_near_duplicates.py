"""Near-duplicates of test dialogues are found by their overlap, whoever speaks and however lines are laid out."""

from collections.abc import Sequence

import pytest

from tasks.data.dialogue_row import DialogueRow
from tasks.data.near_duplicates import LEAST_SHINGLES, SET_PHRASE_ROWS, NearDuplicates
from tasks.data.row_check import Finding


def row(name: str, words: Sequence[str], speakers: tuple[str, str] = ("Ann", "Bob"), turn: int = 10) -> DialogueRow:
    """A dialogue of these words, so many in each turn."""
    turns = [words[i : i + turn] for i in range(0, len(words), turn)]
    lines = [f"{speakers[i % 2]}: {' '.join(part)}" for i, part in enumerate(turns)]
    return DialogueRow(name, "\n".join(lines), ["They talk."], [""])


def vocabulary(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{i}" for i in range(count)]


def found(test: list[DialogueRow], train: list[DialogueRow]) -> Finding:
    check = NearDuplicates(test)
    for each in train:
        check.add(each)
    (finding,) = check.findings()
    return finding


WORDS = vocabulary("w", 102)
"""100 groups of three words."""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([*WORDS[:82], *vocabulary("x", 20)], True),  # 80 of 100 groups are in both
        ([*WORDS[:81], *vocabulary("x", 21)], False),  # 79 of 100
        (WORDS[:40], True),  # an excerpt: all of its 38 groups
        ([*vocabulary("x", 300), *WORDS], True),  # the test dialogue within a longer one
        (WORDS[::-1], False),  # the same words in another order
        (vocabulary("x", 102), False),
        (WORDS[: LEAST_SHINGLES + 1], False),  # nine groups: too short to compare
        (WORDS[: LEAST_SHINGLES + 2], True),
    ],
)
def test_a_planted_overlap_is_found_from_four_fifths_on(words: list[str], expected: bool) -> None:
    """The overlap is known by construction: all words of a dialogue are different."""
    others = [row("other", vocabulary("y", 60)), row("another", vocabulary("z", 60))]
    finding = found([row("test_7", WORDS), *others], [row("train_1", vocabulary("v", 80)), row("train_2", words)])
    assert finding.rows == (["test_7 and train_2"] if expected else [])
    assert finding.of == "3 test dialogues"


def test_other_speakers_and_other_lines_hide_no_duplicate_and_an_equal_text_is_left_to_another_check() -> None:
    """`leakage` counts dialogues that are equal but for case and spacing."""
    test = [row("test_0", WORDS)]
    assert found(test, [row("train_0", WORDS, ("#Person1#", "#Person2#"), turn=7)]).rows == ["test_0 and train_0"]
    equal = DialogueRow("train_1", f"  {test[0].dialogue.upper()}\n", ["They talk."], [""])
    assert found(test, [equal]).rows == []


def test_a_set_phrase_that_many_test_dialogues_share_makes_none_similar() -> None:
    """A greeting of forty words in front of twelve of their own; with their own words they are found."""
    greeting = vocabulary("hello", 40)
    test = [row(f"test_{i}", [*greeting, *vocabulary(f"t{i}w", 12)]) for i in range(SET_PHRASE_ROWS + 1)]
    assert found(test, [row("train_0", [*greeting, *vocabulary("n", 12)]), row("train_1", greeting)]).rows == []
    assert found(test, [row("train_2", vocabulary("t3w", 12))]).rows == ["test_3 and train_2"]


def test_each_test_dialogue_is_named_once_and_all_similar_training_dialogues_are_counted() -> None:
    test = [row("test_0", WORDS), row("test_1", WORDS[:60])]
    finding = found(test, [row("train_0", WORDS[1:]), row("train_1", WORDS[2:]), row("train_2", vocabulary("x", 99))])
    assert finding.rows == ["test_0 and train_0", "test_1 and train_0"]
    assert finding.advice.startswith("2 training dialogues")

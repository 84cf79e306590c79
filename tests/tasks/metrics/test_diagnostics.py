"""What a summary does, on dialogues and summaries made by hand: every figure here was counted by a person."""

import math
from typing import Any

import numpy as np
import pytest

from tasks.metrics.diagnostics import aggregate, diagnose
from tasks.metrics.entity_checks import entity_checks
from tasks.metrics.names import WORDS_TO_JUDGE_STARTS, hallucinated_names
from tasks.metrics.score_table import NAMES_MEASURE
from tests.support.artifacts import ArtifactFactory
from tests.support.data import read_csv
from tests.support.languages import GERMAN, RUSSIAN
from tests.support.paths import SAMPLE


def reason_against_names(dialogues: list[str], references: list[list[str]]) -> str | None:
    """Why names are not checked in this data; None if they are."""
    return entity_checks(dialogues, references).not_applied.get(NAMES_MEASURE)


DIALOGUE = "#Person1#: Hi Tom, have you seen Mary-Ann and O'Brien in London?\n#Person2#: No, the cat is on the mat."
LOWER = {"the", "cat", "he", "asks", "people", "then", "will"}


def diagnostics_of(
    summary: str, dialogue: str = DIALOGUE, references: tuple[str, ...] = ("he asks",), stop: str = "stop_token"
) -> dict[str, float]:
    """The measures of one summary."""
    measures = diagnose([summary], [stop], [dialogue], [references])
    return {name: float(values[0]) for name, values in measures.items()}


@pytest.mark.parametrize(
    ("summary", "share"),
    [
        ("the cat sat on the mat", 0),
        # 3-grams: a b c, b c a, c a b, a b c: the last stood there before
        ("a b c a b c", 1 / 4),
        # one of seven is new
        ("go go go go go go go go go", 6 / 7),
        ("a b a b", 0),  # a b a and b a b differ
        ("The cat sat. THE CAT SAT!", 1 / 4),  # case and punctuation do not hide it
        ("no no", 0),  # too short to repeat three words
        ("", 0),
    ],
)
def test_repeated_is_the_share_of_trigrams_that_stood_there_before(summary: str, share: float) -> None:
    """A model that loops scores near 1; a sentence without repetition scores 0."""
    assert diagnostics_of(summary)["repeated"] == pytest.approx(share)


@pytest.mark.parametrize(
    ("summary", "share"),
    [
        ("The cat is on the mat.", 1),
        # the cat is on, cat is on top, is on top of: one of three
        ("the cat is on top of", 1 / 3),
        ("nothing of this was said there", 0),
        ("Tom seen have you", 0),  # the words, but not in this order
    ],
)
def test_copied_is_the_share_of_four_words_that_stand_in_the_dialogue(summary: str, share: float) -> None:
    """Of a copied line all, of a rewritten one none."""
    assert diagnostics_of(summary)["copied"] == pytest.approx(share)


def test_a_summary_too_short_to_copy_is_left_out_of_the_mean() -> None:
    """It has fewer than four words, so the mean is that of the others."""
    measures = diagnose(["the cat is", "the cat is on the mat", "a b c d e"], None, [DIALOGUE] * 3, [["x"]] * 3)
    assert math.isnan(measures["copied"][0])
    assert aggregate(measures)["copied"] == 0.5
    assert aggregate(diagnose(["the cat"], None, [DIALOGUE], [["x"]]))["copied"] == 0


@pytest.mark.parametrize(
    ("summary", "words", "empty"),
    [
        ("", 0, 1),
        (" \n", 0, 1),
        ("?!", 0, 1),
        ("Don't go, Mary-Ann.", 3, 0),
        ("#Person1# asks", 2, 0),
        ("über 日本", 3, 0),  # characters where a script has no spaces
        ("हिन्दी बोलो", 2, 0),
    ],
)
def test_words_are_counted_and_no_word_is_empty(summary: str, words: int, empty: int) -> None:
    """An apostrophe or hyphen within makes one word; signs alone make none."""
    measures = diagnostics_of(summary, references=("one two three", "one"))
    assert (measures["words"], measures["empty"], measures["reference_words"]) == (words, empty, 2)


def test_stops_at_the_limit_are_counted_where_they_are_known() -> None:
    """Two of three are cut; people have no token limit, so references have no such measure."""
    stops = ["limit", "stop_token", "limit"]
    measures = diagnose(["a", "b", "c"], stops, ["x"] * 3, [["y"]] * 3)
    assert measures["at_limit"].tolist() == [1, 0, 1]
    assert aggregate(measures)["at_limit"] == pytest.approx(2 / 3, abs=1e-4)
    without = diagnose(["a"], None, ["x"], [["y"]])
    assert "at_limit" not in without
    assert "at_limit" not in aggregate(without)


def test_length_ratio_is_of_the_sums() -> None:
    """3 + 1 words to 2 + 6 of the references: 0.5, where the mean of 1.5 and 1/6 would be 0.83."""
    measures = diagnose(["a b c", "a"], None, ["x", "x"], [["a b"], ["a b c d e f"]])
    assert aggregate(measures)["length_ratio"] == 0.5
    assert aggregate(diagnose(["a b"], None, ["x"], [[""]]))["length_ratio"] == 2  # no division by nothing


@pytest.mark.parametrize(
    ("summary", "names"),
    [
        # tags
        ("#Person1# and #Person2# talk.", []),
        ("#Person3# talks to #Person1#.", ["#Person3#"]),
        ("#Person1#'s cat.", []),
        ("#Person#'s cat.", ["#Person#"]),
        # names
        ("the cat asks Tom", []),
        ("the cat asks Tim", ["Tim"]),
        ("the cat asks TOM and tom", []),
        ("the cat asks Dr Watson", ["Watson"]),
        ("the cat of London and Paris", ["Paris"]),
        # possessives, straight and typographic
        ("the cat, Tom's cat, Tom’s cat", []),
        ("the cat, Tim's cat", ["Tim"]),
        ("the cat, Tim’s cat", ["Tim"]),
        ("asks O'Brien and Brien", []),
        # a part of a name is the name
        ("asks Mary and Ann, Mary-Ann", []),
        ("asks Mary-Lou", []),
        ("asks Sue-Lou", ["Sue-Lou"]),
        # what is capitalised without being a name
        ("on Monday in May, Mr Tom and I", []),
        ("The cat. He asks. Then people will. People!", []),
        ("", []),
    ],
)
def test_hallucinated_names_are_tags_and_names_that_the_dialogue_lacks(summary: str, names: list[str]) -> None:
    """Words that somebody writes in small letters are no names, wherever they stand."""
    assert hallucinated_names(summary, DIALOGUE, LOWER) == names


def test_a_sentence_starts_with_no_name_where_its_word_is_written_small_elsewhere() -> None:
    """`Nobody` opens a sentence; it may be a name only where many words in small letters are known, and it is not."""
    rows: dict[str, Any] = {"summaries": ["Nobody talks."] * 2, "stops": None, "references": [["they talk"]] * 2}
    many = " ".join("a" * i for i in range(1, WORDS_TO_JUDGE_STARTS + 1))
    for dialogue, expected in (("B: there", 0), (f"B: {many}", 1), (f"B: {many} nobody", 0)):
        assert diagnose(dialogues=["A: hi", dialogue], **rows)["speaker_error"].tolist() == [expected] * 2


def test_what_a_model_writes_small_teaches_nothing_about_names() -> None:
    """Only dialogues and references are evidence, or a wrong name written small once would excuse all others."""
    measures = diagnose(["asks tim", "asks Tim"], None, [DIALOGUE] * 2, [["he asks"]] * 2)
    assert measures["speaker_error"].tolist() == [0, 1]


def test_diagnostics_through_the_stage_are_those_of_these_texts(artifact_factory: ArtifactFactory) -> None:
    """Base and tuned each by their own texts and stops; people by each reference against the other."""
    dataset = artifact_factory.dataset([["he asks Tom", "he asks Tim the cat"]] * 2, [DIALOGUE] * 2)
    base, tuned = (
        artifact_factory.predictions(["", "Tim"], cut=[1]),
        artifact_factory.predictions(["the cat is on the mat"] * 2),
    )
    scores, _ = artifact_factory.score(dataset, base, tuned, bootstrap_resamples=50)
    acted = scores["behaviour"]
    assert {k: acted["base"][k] for k in ("empty", "at_limit", "speaker_errors", "words")} == {
        "empty": 0.5,
        "at_limit": 0.5,
        "speaker_errors": 0.5,
        "words": 0.5,
    }
    assert {k: acted["tuned"][k] for k in ("copied", "empty", "at_limit")} == {"copied": 1, "empty": 0, "at_limit": 0}
    assert acted["tuned"]["length_ratio"] == 1.5  # 12 words to 2 x (3 + 5) / 2
    assert acted["human"]["speaker_errors"] == 0.5
    assert acted["human"]["words"] == 4
    assert np.isclose(acted["human"]["length_ratio"], (3 / 5 + 5 / 3) / 2, atol=1e-4)


def english(count: int) -> tuple[list[str], list[list[str]]]:
    """Dialogues of the bundled sample with their three references."""
    rows = read_csv(SAMPLE / "test.csv")[: 3 * count]
    return [row["dialogue"] for row in rows[::3]], [
        [row["summary"] for row in rows[i : i + 3]] for i in range(0, len(rows), 3)
    ]


@pytest.mark.parametrize("count", [4, 10])
@pytest.mark.parametrize("references", [1, 2])
def test_capitals_tell_no_names_in_german(references: int, count: int) -> None:
    """It writes all nouns so: in few dialogues as in more, with one or several references for each."""
    dialogues = [dialogue for dialogue, *_ in GERMAN[:count]]
    reason = reason_against_names(dialogues, [list(texts[:references]) for _, *texts in GERMAN[:count]])
    assert reason is not None
    assert reason.startswith("the language writes nouns with a capital")


@pytest.mark.parametrize("count", [4, 10])
@pytest.mark.parametrize("references", [1, 2])
def test_names_are_looked_for_in_russian(references: int, count: int) -> None:
    """Its names have cases, which are forms of the names in the dialogue."""
    dialogues = [dialogue for dialogue, *_ in RUSSIAN[:count]]
    assert reason_against_names(dialogues, [list(texts[:references]) for _, *texts in RUSSIAN[:count]]) is None


def test_names_are_not_looked_for_where_people_break_the_measure() -> None:
    """References that name others than their dialogues: a check that they fail says nothing about a model."""
    dialogues = [f"A: the cat number {i} sleeps" for i in range(40)]
    reason = reason_against_names(dialogues, [["the cat of Quentin sleeps"]] * 10 + [["the cat sleeps"]] * 30)
    assert reason == "25.0 % of the human references have some as well"


@pytest.mark.parametrize("count", [4, 12, 40])
def test_names_are_looked_for_in_english(count: int) -> None:
    """People who write English name hardly anybody who is not there, in few dialogues as in many."""
    assert reason_against_names(*english(count)) is None


def test_wrong_tags_of_the_references_say_nothing_about_their_names() -> None:
    """A tag is a tag in every language."""
    assert reason_against_names(["#Person1#: hi"] * 30, [["#Person2# says hi"]] * 30) is None


def test_without_names_tags_are_still_counted(artifact_factory: ArtifactFactory) -> None:
    """German summaries through the stage: nouns are no errors, a speaker who does not exist is; people have none."""
    dataset = artifact_factory.dataset(
        [[first, second] for _, first, second in GERMAN], [dialogue for dialogue, *_ in GERMAN]
    )
    good = [first for _, first, _ in GERMAN]
    scores, _ = artifact_factory.score(
        dataset,
        artifact_factory.predictions(good),
        artifact_factory.predictions(["#Person7# hat Verspätung.", *good[1:]]),
        bootstrap_resamples=50,
    )
    acted = scores["behaviour"]
    assert [acted[name]["speaker_errors"] for name in ("base", "tuned", "human")] == [0, 0.1, 0]
    assert scores["not_applied"].keys() == {NAMES_MEASURE}


def test_every_measure_is_applied_in_english(artifact_factory: ArtifactFactory) -> None:
    """A name that the dialogue does not contain is an error."""
    dialogues, references = english(12)
    good = [row[0] for row in references]
    scores, _ = artifact_factory.score(
        artifact_factory.dataset(references, dialogues),
        artifact_factory.predictions(good),
        artifact_factory.predictions([f"{text} Quentin" for text in good]),
    )
    assert scores["not_applied"] == {}
    assert (scores["behaviour"]["base"]["speaker_errors"], scores["behaviour"]["tuned"]["speaker_errors"]) == (0, 1)

"""Conditions of `evaluate --require`: what is compared with what, and what CI reads."""

from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artifacts.errors import RequestError
from flows.conditions import ConditionResult, check_conditions, parse_condition, write_junit
from tasks.metrics.scores import Scores
from tests.support.artifacts import ArtifactFactory


@pytest.fixture
def scores(artifact_factory: ArtifactFactory) -> Any:
    """`scores(base, tuned, before)`: their scores on "a b c d", by the number of predicted words that are right."""

    def score(*right_words: int) -> Scores:
        dataset = artifact_factory.dataset([["a b c d"], ["a b c d"]])
        outputs = [artifact_factory.predictions([" ".join("abcd"[:n]) + " x" * (4 - n)] * 2) for n in right_words]
        base, *tuned = outputs[:2]
        more = [base] * (len(outputs) > 2)  # in the order of ArtifactFactory.score: base, tuned, champion, before
        return Scores.load(artifact_factory.score(dataset, base, *tuned, *more, *outputs[2:])[1])

    return score


def result(condition: str, scores: Scores) -> ConditionResult:
    return check_conditions([parse_condition(condition)], scores)[0]


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        # n of four words are right: ROUGE-1 is 25 n; base 25, tuned 75, before 100
        ("rouge1 >= 75", True),
        ("rouge1 > 75", False),
        ("rouge1 <= 75", True),
        ("rouge1<75", False),
        ("rouge1 >= before - 25", True),
        ("rouge1 >= before - 24.9", False),
        ("rouge1 >= base + 50", True),
        ("rouge1 > base + 50", False),
        ("rouge1 <= champion+50", True),
        ("rougeL >= before", False),
        ("rouge1 >= human - 50", False),  # a single reference per dialogue has no other to be compared with
        ("length_ratio >= 1", True),
        ("empty <= 0 %", True),
        ("repeated < 5%", True),
        ("at_limit <= base", True),
    ],
)
def test_a_condition_compares_the_tuned_model_with_a_number_or_a_system(scores: Any, condition: str, met: bool) -> None:
    assert result(condition, scores(1, 3, 4)).met is met


def test_a_result_names_the_value_and_the_bound(scores: Any) -> None:
    unmet = result("rouge1 >=  before - 0.5", scores(1, 3, 4))
    assert (unmet.condition, unmet.observed, unmet.bound) == ("rouge1 >= before - 0.5", 75, 99.5)
    assert unmet.reason == "rouge1 is 75, which is not >= 99.5 (before 100 -0.5)"
    assert result("rouge1 > base", scores(1, 3)).reason == "rouge1 is 75, which is > 25 (base 25)"


def test_without_a_tuned_model_the_base_model_is_judged(scores: Any) -> None:
    assert result("rouge1 >= 25", scores(1)).met
    assert not result("rouge1 > 25", scores(1)).met


def test_a_system_that_was_not_evaluated_meets_no_condition(scores: Any) -> None:
    """A check that silently passes would be worse than one that fails."""
    missing = result("rouge1 >= champion - 90", scores(1, 3))
    assert (missing.met, missing.reason) == (False, "this evaluation has no rouge1 of champion")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rouge1", "expected a metric, a comparison and a bound"),
        ("rouge1 >= ", "expected a metric"),
        ("rouge1 = 5", "expected a metric"),
        ("rouge1 >= 5 - before", "expected a metric"),
        ("rouge1 >= before - 0.5 or 1", "expected a metric"),
        ("rougel >= 5", "no metric 'rougel'; did you mean 'rougeL'"),
        ("rouge1 >= champoin", "no system 'champoin' to compare with; did you mean 'champion'"),
        ("rouge1 >= tuned", "no system 'tuned'"),
    ],
)
def test_a_wrong_condition_is_refused_with_what_is_expected(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse_condition(text)


@given(st.text(max_size=30))
def test_any_text_is_a_condition_or_refused(text: str) -> None:
    with suppress(RequestError):
        assert parse_condition(text).metric in text


def test_the_junit_file_has_one_case_per_condition(scores: Any, tmp_path: Path) -> None:
    """Read with the standard library, as a CI server counts them."""
    results = check_conditions([parse_condition(text) for text in ("rouge1 > base", "rouge1 > 99")], scores(1, 3))
    write_junit(results, "score-1a2b3c4d", tmp_path / "junit.xml")
    suite = ElementTree.parse(tmp_path / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == (
        "dialogsum evaluate score-1a2b3c4d",
        "2",
        "1",
    )
    cases = {case.get("name"): case.find("failure") for case in suite.findall("testcase")}
    assert cases["rouge1 > base"] is None
    failure = cases["rouge1 > 99"]
    assert failure is not None
    assert failure.get("message") == "rouge1 is 75, which is not > 99"


def test_a_junit_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"--junit .*cannot be written"):
        write_junit([], "score-1a2b3c4d", tmp_path)

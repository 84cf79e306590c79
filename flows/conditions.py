"""Conditions that an evaluation must meet, such as `rouge1 >= before - 0.5`, and their results as JUnit XML for CI."""

import operator
import re
from collections.abc import Sequence
from pathlib import Path

from artifacts.errors import RequestError
from artifacts.record import Record
from artifacts.text import did_you_mean, one_line
from tasks.metrics.score_table import DIAGNOSTIC_LABELS, HEADLINE_PROTOCOL, MODELS, ROUGE_TYPES, System
from tasks.metrics.scores import Scores

OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
METRICS = (*ROUGE_TYPES, *DIAGNOSTIC_LABELS)
COMPARED_SYSTEMS = tuple(system for system in (*MODELS, System.HUMAN) if system != System.TUNED)
_NUMBER = r"\d+(?:\.\d+)?\s*%?"
_CONDITION = re.compile(
    rf"\s*(?P<metric>\w+)\s*(?P<operator>[<>]=?)\s*"
    rf"(?:(?P<system>[A-Za-z]\w*)\s*(?:(?P<sign>[+-])\s*(?P<offset>{_NUMBER}))?|(?P<bound>-?{_NUMBER}))\s*"
)


class Condition(Record):
    """A metric of the evaluated model, and the bound that it is compared with."""

    text: str
    """As it was typed, with single spaces."""
    metric: str
    """One of METRICS. ROUGE is F1 x 100 under the headline protocol; shares are fractions of 1."""
    operator: str
    system: System | None
    """Whose value is the bound; None if the bound is a number."""
    offset: float
    """Added to the value of `system`; the bound itself without one."""


class ConditionResult(Record):
    """Whether an evaluation meets a condition."""

    condition: str
    met: bool
    observed: float | None
    """The metric of the evaluated model; None if the condition cannot be evaluated."""
    bound: float | None
    reason: str
    """`rouge1 is 37.31, which is not >= 37.5 (before 38 -0.5)`."""


def parse_condition(text: str) -> Condition:
    """RequestError that says which part is unknown, and what a condition looks like."""
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise RequestError(
            f"--require {one_line(text, 80)!r}: expected a metric, a comparison and a bound, such as "
            "'rouge1 >= before - 0.5' or 'at_limit <= 5 %'"
        )
    metric, system = match["metric"], match["system"]
    if metric not in METRICS:
        raise RequestError(f"--require: no metric {one_line(metric, 40)!r}{did_you_mean(metric, list(METRICS))}")
    if system is not None and system not in COMPARED_SYSTEMS:
        raise RequestError(
            f"--require: no system {one_line(system, 40)!r} to compare with{did_you_mean(system, [*COMPARED_SYSTEMS])}"
        )
    offset = _number(match["bound"] or match["offset"] or "0")
    return Condition(
        text=" ".join(text.split()),
        metric=metric,
        operator=match["operator"],
        system=System(system) if system else None,
        offset=-offset if match["sign"] == "-" else offset,
    )


def check_conditions(conditions: Sequence[Condition], scores: Scores) -> list[ConditionResult]:
    """Whether the tuned model meets each condition, or the base model if it alone was evaluated."""
    return [_check(condition, scores) for condition in conditions]


def write_junit(results: Sequence[ConditionResult], scores_id: str, file: Path) -> None:
    """One test case per condition, in a suite named after the score artifact. RequestError if it cannot be written."""
    from junitparser import Failure, JUnitXml, TestCase, TestSuite  # only CI asks for this file

    suite = TestSuite(f"dialogsum evaluate {scores_id}")
    for result in results:
        case = TestCase(result.condition, classname="dialogsum.evaluate", time=0)
        if not result.met:
            case.result = [Failure(result.reason)]
        else:
            case.system_out = result.reason
        suite.add_testcase(case)
    report = JUnitXml()
    report.add_testsuite(suite)
    try:
        report.write(str(file), pretty=True)
    except OSError as error:
        raise RequestError(f"--junit {file}: cannot be written ({one_line(error, 120)})") from error


def _check(condition: Condition, scores: Scores) -> ConditionResult:
    subject = System.TUNED if scores.differences else System.BASE
    observed = _value(condition.metric, subject, scores)
    compared = _value(condition.metric, condition.system, scores) if condition.system else 0.0
    if observed is None or compared is None:
        reason = f"this evaluation has no {condition.metric} of {subject if observed is None else condition.system}"
        return ConditionResult(condition=condition.text, met=False, observed=observed, bound=None, reason=reason)
    bound = compared + condition.offset
    met = bool(OPERATORS[condition.operator](round(observed, 6), round(bound, 6)))
    offset = f" {condition.offset:+.4g}" if condition.offset else ""
    source = f" ({condition.system} {compared:.4g}{offset})" if condition.system else ""
    comparison = f"{'' if met else 'not '}{condition.operator} {bound:.4g}{source}"
    reason = f"{condition.metric} is {observed:.4g}, which is {comparison}"
    return ConditionResult(condition=condition.text, met=met, observed=observed, bound=bound, reason=reason)


def _value(metric: str, system: System, scores: Scores) -> float | None:
    """None if the evaluation has no such system, or if the metric does not exist for it."""
    if metric in ROUGE_TYPES:
        by_type = scores.protocols[HEADLINE_PROTOCOL].systems.get(system)
        return by_type[metric].f1 if by_type else None
    return scores.diagnostics.get(system, {}).get(metric)


def _number(text: str) -> float:
    return float(text.rstrip("% ")) / 100 if text.endswith("%") else float(text)

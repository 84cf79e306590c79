"""bench names: invented names, speakers and numbers that we find in summaries, compared with people's verdict.

The earlier measure, which knew names only by their capitals, stands beside ours.
"""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from flows.benchmarks.earlier_names import earlier_names, was_applied
from flows.benchmarks.judged_summaries import (
    Judged,
    JudgedData,
    dialogsum_labels,
    dialogsum_references,
    samples,
    samsum_labels,
    with_changed_numbers,
    with_swapped_speakers,
)
from tasks.metrics.diagnostics import diagnose
from tasks.metrics.entity_checks import entity_checks

Finder = Callable[[str, str], list[str]]
"""(summary, dialogue) -> the words of the summary that are wrong."""
NAMES, NUMBERS = "names and speakers", "numbers"
NAME_ERRORS = ("SubObjE", "HalE")
"""Types of SAMSum's errors that may be in a name: wrong subject or object, hallucination."""


def bench_names(folder: Path | None) -> tuple[list[dict[str, Any]], str]:
    """Precision and recall by kind and measure, with 95 % Wilson intervals, and a remark.

    folder: has `faithfulness` and `dialogsum`, as their authors publish them; None measures the samples alone.
    """
    rows = [row for data in samples() for row in _by_word(data)]
    remark = "samples of the repository; --data FOLDER measures DialogSum and SAMSum as well"
    if folder:
        judged = dialogsum_labels(folder)
        samsum, verdicts = samsum_labels(folder)
        train, validation = (dialogsum_references(folder, split) for split in ("train", "validation"))
        rows += _by_word(judged) + _by_summary(samsum, verdicts)
        rows += _by_word(with_swapped_speakers(samsum), (NAMES,)) + _by_word(with_changed_numbers(train), (NUMBERS,))
        references = [train, validation, judged, samsum]
        rows += [row for data in references for row in _false_alarms(data)]
        remark = _speed(judged)
    return rows, remark


def _measures(data: JudgedData, kind: str) -> dict[str, Finder]:
    """Measure -> what it finds. The earlier one is marked where it was not applied, because references failed it."""
    checks = entity_checks(data.dialogues, data.references)
    if kind == NUMBERS:
        return {"ours": lambda summary, dialogue: checks.number_errors(summary, dialogue) or []}
    applied = was_applied(data.dialogues, data.references, checks.lowercase)
    return {
        "earlier" if applied else "earlier (was not applied)": lambda s, d: earlier_names(s, d, checks.lowercase),
        "ours": lambda summary, dialogue: checks.speaker_errors(summary, dialogue),
    }


def _by_word(data: JudgedData, kinds: Sequence[str] = (NAMES, NUMBERS)) -> list[dict[str, Any]]:
    """A found word is right if people call it wrong; what they call wrong should be found."""
    rows = []
    for kind in kinds:
        for measure, find in _measures(data, kind).items():
            found, right, wrong, recalled = 0, 0, 0, 0
            for each in data.judged:
                words = find(each.summary, each.dialogue)
                labels = _labels(each, kind)
                found, right = found + len(words), right + sum(word in each.wrong for word in words)
                wrong, recalled = wrong + len(labels), recalled + len(labels & {*words})
            rows.append(_row(data.name, kind, measure, (right, found), (recalled, wrong)))
    return rows


def _labels(judged: Judged, kind: str) -> frozenset[str]:
    return judged.names if kind == NAMES else judged.numbers


def _by_summary(data: JudgedData, verdicts: list[dict[str, str]]) -> list[dict[str, Any]]:
    """A summary with a found word is right if people found any error in it."""
    rows = []
    for kind in (NAMES, NUMBERS):
        for measure, find in _measures(data, kind).items():
            found = [row for row in verdicts if find(row["summary"], row["dialogue"])]
            wrong = [row for row in verdicts if {*NAME_ERRORS} & {*row["types"].split()}]
            right = sum(row["error"] == "1" for row in found)
            recall = (sum(row in wrong for row in found), len(wrong)) if kind == NAMES else (0, 0)
            rows.append(_row(f"{data.name}, four systems, whole summaries", kind, measure, (right, len(found)), recall))
    return rows


def _false_alarms(data: JudgedData) -> list[dict[str, Any]]:
    """How many human references a measure calls wrong."""
    pairs = [(text, dialogue) for dialogue, row in zip(data.dialogues, data.references, strict=True) for text in row]
    rows = []
    for kind in (NAMES, NUMBERS):
        for measure, find in _measures(data, kind).items():
            flagged = sum(bool(find(*pair)) for pair in pairs)
            row = _row(f"{data.name}: human references", kind, measure, (0, 0), (0, 0))
            rows.append(row | {"false alarms": interval(flagged, len(pairs))})
    return rows


def _row(data: str, kind: str, measure: str, precision: tuple[int, int], recall: tuple[int, int]) -> dict[str, Any]:
    return {
        "data": data,
        "kind": kind,
        "measure": measure,
        "precision": interval(*precision),
        "recall": interval(*recall),
        "false alarms": "-",
    }


def interval(count: int, total: int) -> str:
    """`9/10 0.90 (0.60 to 0.98)`: a share with its 95 % Wilson interval; `-` of nothing."""
    if not total:
        return "-"
    z, share = 1.959964, count / total
    middle, spread = share + z * z / (2 * total), z * math.sqrt(share * (1 - share) / total + z * z / (4 * total**2))
    low, high = ((middle + sign * spread) / (1 + z * z / total) for sign in (-1, 1))
    return f"{count}/{total} {share:.3f} ({max(low, 0):.3f} to {min(high, 1):.3f})"


def _speed(data: JudgedData) -> str:
    """How long the diagnostics of four systems take on the dialogues of a data set."""
    started = time.perf_counter()
    checks = entity_checks(data.dialogues, data.references)
    prepared = time.perf_counter() - started
    for _ in range(4):
        diagnose([row[0] for row in data.references], None, data.dialogues, data.references, checks)
    seconds = time.perf_counter() - started
    return (
        f"{len(data.dialogues)} dialogues: {prepared:.1f} s for the checks of the data set, {seconds:.1f} s with the "
        "diagnostics of four systems"
    )

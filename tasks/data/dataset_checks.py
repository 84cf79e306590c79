"""Checks of a dataset before it is trained on: what training accepts and would do better without."""

from pathlib import Path

from artifacts.check import Check
from tasks.data.dialogue_row import dialogue_rows
from tasks.data.duplicates import Duplicates
from tasks.data.languages import Languages
from tasks.data.near_duplicates import NearDuplicates
from tasks.data.repeated_references import RepeatedReferences
from tasks.data.row_check import RowCheck
from tasks.data.row_lengths import RowLengths


def check_dataset(dataset: Path) -> list[Check]:
    """A note for each finding, and one check that names what was not found. dataset: payload of download.

    What `download`, `format` or the trainer refuses or counts is not repeated. Keeps ids, lengths and hashes of the
    training rows in memory, but no texts.
    """
    languages = Languages()
    for row in dialogue_rows(dataset, "test"):
        languages.add("test", row)
    checks: list[RowCheck] = [
        Duplicates(),
        NearDuplicates(dialogue_rows(dataset, "test")),
        RowLengths(),
        RepeatedReferences(),
    ]
    for row in dialogue_rows(dataset, "train"):
        languages.add("train", row)
        for check in checks:
            check.add(row)
    findings = [finding for check in checks for finding in check.findings()]
    absent = [finding.name for finding in findings if not finding.rows]
    passed = [Check("training data", "ok", f"no {', '.join(absent)}")] if absent else []
    return [*passed, *(finding.note() for finding in findings if finding.rows), *languages.checks()]

"""Summaries of which people say whether their facts are right, to compare measures of faithfulness with."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from artifacts.cache_key import sha256
from artifacts.errors import RequestError
from flows.benchmarks.judged_summaries import read_csv_rows

HUMAN = "human_ref"
"""SAMSum's name of the system that is the human reference."""


@dataclass(frozen=True)
class LabelledSummaries:
    """Summaries of several systems with people's verdict; all lists have one entry per summary."""

    name: str
    ids: list[str]
    """Of the dialogue."""
    dialogues: list[str]
    references: list[list[str]]
    """Of the dialogue."""
    summaries: list[str]
    errors: np.ndarray
    """1 where people found a factual error, else 0."""
    types: list[frozenset[str]]
    """Types of the errors."""

    @cached_property
    def dialogue_index(self) -> np.ndarray:
        """Number of each summary's dialogue, from 0."""
        return np.unique(self.ids, return_inverse=True)[1]

    @cached_property
    def digest(self) -> str:
        """16 hex digits of the dialogues and summaries."""
        return sha256([self.dialogues, self.summaries])[:16]

    def of_type(self, kind: str) -> np.ndarray:
        """Mask of the summaries without an error and of those with an error of this type."""
        return np.asarray([not error or kind in types for error, types in zip(self.errors, self.types, strict=True)])


def samsum(folder: Path) -> LabelledSummaries:
    """Four systems on SAMSum. The human references are what ROUGE compares with, and no rows of their own."""
    rows = _labelled_rows(folder / "samsum_outputs.csv", ("dialogue",))
    references = {row["dialogue_id"]: row["summary"] for row in rows if row["system"] == HUMAN}
    systems = [row for row in rows if row["system"] != HUMAN]
    if missing := {row["dialogue_id"] for row in systems} - references.keys():
        raise RequestError(f"--data: samsum_outputs.csv has no row of {HUMAN} for dialogue {min(missing)}")
    return _labelled(
        "SAMSum",
        systems,
        [row["dialogue"] for row in systems],
        [[references[row["dialogue_id"]]] for row in systems],
    )


def dialogsum(folder: Path, dialogues: Path) -> LabelledSummaries:
    """Four systems on DialogSum. dialogues: a DialogSum folder, of which test.csv has dialogues and references."""
    test: dict[str, list[dict[str, str]]] = {}
    for row in read_csv_rows(dialogues / "test.csv", "--dialogsum"):
        test.setdefault(row["id"].rpartition("_")[0], []).append(row)
    rows = _labelled_rows(folder / "dialogsum_outputs.csv")
    if missing := [row["dialogue_id"] for row in rows if row["dialogue_id"] not in test]:
        raise RequestError(f"--dialogsum: test.csv in {dialogues} has no dialogue {missing[0]}")
    return _labelled(
        "DialogSum",
        rows,
        [test[row["dialogue_id"]][0]["dialogue"] for row in rows],
        [[each["summary"] for each in test[row["dialogue_id"]]] for row in rows],
    )


def _labelled_rows(file: Path, more: Sequence[str] = ()) -> list[dict[str, Any]]:
    rows = read_csv_rows(file, "--data")
    columns = ("dialogue_id", "system", "summary", "error", "types", *more)
    if missing := [column for column in columns if not rows or column not in rows[0]]:
        raise RequestError(f"--data: {file.name} has no column {missing[0]}; expected {', '.join(columns)}")
    if {row["error"] for row in rows} != {"0", "1"}:
        raise RequestError(f"--data: {file.name} must have rows with `error` 0 and with `error` 1, and no others")
    return rows


def _labelled(
    name: str, rows: list[dict[str, Any]], dialogues: list[str], references: list[list[str]]
) -> LabelledSummaries:
    return LabelledSummaries(
        name=name,
        ids=[row["dialogue_id"] for row in rows],
        dialogues=dialogues,
        references=references,
        summaries=[row["summary"] for row in rows],
        errors=np.asarray([int(row["error"]) for row in rows]),
        types=[frozenset(row["types"].split()) for row in rows],
    )

"""Datasets as the stage download writes them, from rows written by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artifacts.schemas import DATASET, write_table

DatasetRow = dict[str, Any]
PLAIN_ROW: DatasetRow = {
    "id": "plain",
    "dialogue": "#Person1#: Where is the station?\n#Person2#: Behind the park.",
    "references": ["#Person2# explains the way."],
    "topics": ["way"],
}
"""A row in which no check finds anything."""


def dataset_row(name: str, dialogue: str, *references: str, topics: Sequence[str] = ("",)) -> DatasetRow:
    return {"id": name, "dialogue": dialogue, "references": list(references), "topics": list(topics)}


def write_dataset(
    folder: Path,
    train: list[DatasetRow],
    test: list[DatasetRow] | None = None,
    validation: list[DatasetRow] | None = None,
) -> Path:
    """Write the three tables; a split that is not given has the plain row alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in (("train", train), ("validation", validation), ("test", test)):
        write_table([PLAIN_ROW] if rows is None else rows, DATASET, folder / f"{split}.parquet")
    return folder

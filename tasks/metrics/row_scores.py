"""Columns of rows.parquet, the scores and diagnostics per dialogue."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.schemas import read_table
from tasks.metrics.score_table import DIAGNOSTIC_COLUMNS, ROUGE_TYPES

ROW_SCORES = pa.schema(
    [("system", pa.string()), ("id", pa.string())]
    + [(name, pa.float64()) for name in (*ROUGE_TYPES, *DIAGNOSTIC_COLUMNS)]
)
"""One row per dialogue and system; F1 (0 to 1) is under the headline protocol. `number_error` is null if numbers were
not checked."""
_ADDED = ("number_error",)
"""Columns that earlier versions did not write."""


def read_row_scores(file: Path) -> list[dict[str, Any]]:
    """Rows of a rows.parquet of this version or an earlier one, whose missing columns are None.

    StageError if its columns are others.
    """
    earlier = pa.schema([column for column in ROW_SCORES if column.name not in _ADDED])
    if not pq.read_schema(file).equals(earlier):
        return read_table(file, ROW_SCORES)
    return [row | dict.fromkeys(_ADDED) for row in read_table(file, earlier)]

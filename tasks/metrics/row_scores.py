"""Columns of rows.parquet, the scores and diagnostics per dialogue."""

import pyarrow as pa

from tasks.metrics.score_table import DIAGNOSTIC_COLUMNS, ROUGE_TYPES

ROW_SCORES = pa.schema(
    [("system", pa.string()), ("id", pa.string())]
    + [(name, pa.float64()) for name in (*ROUGE_TYPES, *DIAGNOSTIC_COLUMNS)]
)
"""One row per dialogue and system; F1 (0 to 1) is under the headline protocol."""

"""Column names and types of every Parquet table, checked on write and on read."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.errors import StageError

TEXTS = pa.list_(pa.string())
DATASET = pa.schema([("id", pa.string()), ("dialogue", pa.string()), ("references", TEXTS), ("topics", TEXTS)])
FORMATTED_TRAIN = pa.schema([("id", pa.string()), ("prompt", pa.string()), ("completion", pa.string())])
FORMATTED_EVAL = pa.schema([("id", pa.string()), ("prompt", pa.string())])
PREDICTIONS = pa.schema(
    [("id", pa.string()), ("prediction", pa.string()), ("tokens", pa.int32()), ("stop", pa.string())]
)
CURVE = pa.schema(
    [("step", pa.int32()), ("epoch", pa.float64()), ("learning_rate", pa.float64()), ("gradient_norm", pa.float64()),
     ("train_loss", pa.float64()), ("validation_loss", pa.float64())]
)  # fmt: skip


def write_table(rows: list[dict[str, Any]], schema: pa.Schema, file: Path) -> None:
    """Write rows as Parquet. The bytes depend on rows and schema alone."""
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file, compression="zstd", write_statistics=False)


def read_table(file: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    """Rows of a Parquet file. StageError if its columns are not those of `schema`."""
    table = pq.read_table(file)
    if not table.schema.equals(schema):
        raise StageError(
            f"{file.name} has columns {table.schema.names}, expected {schema.names}: rerun the stage that wrote it"
        )
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows

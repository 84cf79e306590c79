"""Column names and types of every Parquet table, checked on write and on read."""

from collections.abc import Iterable, Iterator
from itertools import islice
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
NUMBERS = pa.list_(pa.float64())
CANDIDATES = pa.schema(
    [
        ("id", pa.string()),
        ("candidates", TEXTS),
        ("finished", pa.list_(pa.bool_())),
        ("agreement", NUMBERS),
        ("reference_agreement", NUMBERS),
    ]
)
JUDGEMENTS = pa.schema(
    [
        ("id", pa.string()),
        ("kind", pa.string()),
        ("score", pa.float64()),
        ("lowest", pa.float64()),
        ("unsupported", TEXTS),
        ("answer", pa.string()),
    ]
)
"""`kind`: a value of tasks.judging.texts.Kind. `score`: 0 to 1; null if the judge's answer could not be read. `lowest`:
score of the least supported sentence; null if the judge scores whole summaries. `answer`: of an endpoint."""
CURVE = pa.schema(
    [
        ("step", pa.int32()),
        ("epoch", pa.float64()),
        ("learning_rate", pa.float64()),
        ("gradient_norm", pa.float64()),
        ("train_loss", pa.float64()),
        ("validation_loss", pa.float64()),
    ]
)


BATCH_ROWS = 1 << 14
"""Rows of a table that are in memory at once."""


def write_table(rows: Iterable[dict[str, Any]], schema: pa.Schema, file: Path) -> int:
    """Write rows as Parquet, and count them. The bytes depend on rows and schema alone."""
    left, count = iter(rows), 0
    with pq.ParquetWriter(file, schema, compression="zstd", write_statistics=False) as writer:
        while (batch := list(islice(left, BATCH_ROWS))) or not count:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
            count += len(batch)
            if not batch:
                break
    return count


def rows_of(file: Path, schema: pa.Schema) -> Iterator[dict[str, Any]]:
    """Rows of a Parquet file, read in batches. StageError if its columns are not those of `schema`."""
    with pq.ParquetFile(file) as table:
        if not table.schema_arrow.equals(schema):
            raise StageError(
                f"{file.name} has columns {table.schema_arrow.names}, expected {schema.names}: "
                "rerun the stage that wrote it"
            )
        for batch in table.iter_batches(batch_size=BATCH_ROWS):
            yield from batch.to_pylist()


def read_table(file: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    """All rows of a Parquet file."""
    return list(rows_of(file, schema))

"""Chunks of a table, and the file in which a worker leaves each finished chunk."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.summarization.table_files import OUTPUT_COLUMNS

CHUNK_COLUMNS = pa.schema([field for field in OUTPUT_COLUMNS if field.name != "model"])


def chunk_file(folder: Path, number: int) -> Path:
    """File of a finished chunk."""
    return folder / f"{number:08d}.parquet"


def chunks(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` values; the last may be shorter."""
    rest = iter(values)
    while chunk := list(islice(rest, size)):
        yield chunk

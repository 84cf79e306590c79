"""Files of finished batches: the unit in which a stage is resumed after it was killed."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa

from artifacts.atomic_files import sha256_of
from artifacts.schemas import PREDICTIONS, read_table, write_table


def save_part(rows: list[dict[str, Any]], folder: Path, schema: pa.Schema = PREDICTIONS) -> None:
    """Write the rows of one batch to a file of their own, completely or not at all.

    The file's name contains its digest, since no manifest covers it yet.
    """
    name = hashlib.sha256("\n".join(row["id"] for row in rows).encode()).hexdigest()[:16]
    temporary = folder / f"{name}.half"
    write_table(rows, schema, temporary)
    temporary.rename(folder / f"{name}-{sha256_of(temporary)[:16]}.parquet")


def read_parts(folder: Path, schema: pa.Schema = PREDICTIONS) -> list[dict[str, Any]]:
    """Rows of all finished batches. A damaged file is ignored, so its rows are made again."""
    files = sorted(folder.glob("*.parquet"))
    intact = [file for file in files if file.stem.endswith(f"-{sha256_of(file)[:16]}")]
    return [row for file in intact for row in read_table(file, schema)]

"""Tables with one dialogue per row (CSV, JSON lines, Parquet), streamed and written back with columns added.

All other content is written back unchanged: CSV fields as text, JSON lines byte for byte, Parquet with its types. Only
one block of rows is in memory.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.errors import RequestError
from artifacts.text import did_you_mean, one_line
from tasks.summarization.csv_file import CsvFile
from tasks.summarization.text_encoding import not_utf8

DIALOGUE_COLUMNS = ("dialogue", "conversation", "transcript", "dialog", "messages", "chat", "text", "content")
"""Usual names of the column with the dialogues; the first one that exists is taken."""
OUTPUT_COLUMNS = pa.schema(
    [("summary", pa.string()), ("tokens", pa.int32()), ("stop", pa.string()), ("model", pa.string())]
)
BLOCK_ROWS = 4096
"""Rows of a Parquet file in memory at once."""


class Table(Protocol):
    """A file with one dialogue per row."""

    file: Path
    columns: list[str]
    rows: int

    def values(self, column: str) -> Iterator[Any]:
        """The column, row by row; None if a row does not have it."""

    def write(self, out: Path, names: Sequence[str], added: Iterable[tuple[Any, ...]]) -> None:
        """Write the rows with further columns, called `names`, of the types of OUTPUT_COLUMNS."""


def open_table(file: Path) -> Table:
    """Read the file once, to its end, before any work begins: RequestError names the first invalid row."""
    reader = READERS.get(file.suffix.lower())
    if reader is None:
        raise RequestError(f"{file} is not a table; expected {', '.join(READERS)}")
    try:
        table: Table = reader(file)
    except UnicodeDecodeError as error:
        raise RequestError(not_utf8(str(file), file.read_bytes())) from error
    except OSError as error:
        raise RequestError(f"{file} cannot be read: {one_line(error.strerror or error, 120)}") from error
    return table


def pick_column(table: Table, column: str | None) -> str:
    """The column with the dialogues. RequestError if it does not exist, or if none is named and none is obvious."""
    if column is not None:
        if column not in table.columns:
            raise RequestError(f"--column: no column {one_line(column, 60)!r}{did_you_mean(column, table.columns)}")
        return column
    by_name = {name.strip().lower(): name for name in reversed(table.columns)}
    usual = next((by_name[name] for name in DIALOGUE_COLUMNS if name in by_name), None)
    if usual is None and len(table.columns) == 1:
        usual = table.columns[0]
    if usual is None:
        columns = one_line(", ".join(table.columns), 200) or "none"
        raise RequestError(f"which column holds the dialogues? Name it with --column NAME; columns: {columns}")
    return usual


def free_names(columns: Sequence[str]) -> list[str]:
    """Names of the added columns; `generated_summary` if there already is a `summary`."""
    names = []
    for name in OUTPUT_COLUMNS.names:
        while name in columns:
            name = f"generated_{name}"
        names.append(name)
    return names


class JsonLines:
    """One JSON object per line; empty lines are skipped."""

    def __init__(self, file: Path) -> None:
        self.file = file
        names: dict[str, None] = {}
        self.rows = 0
        for _, row in self._read():
            names |= dict.fromkeys(row)
            self.rows += 1
        self.columns = list(names)

    def _read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        with self.file.open(encoding="utf-8-sig", newline="\n") as f:
            for number, line in enumerate(f, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise RequestError(
                        f"{self.file}: line {number} is not valid JSON ({one_line(error, 100)}); "
                        "expected one object per line"
                    ) from error
                if not isinstance(row, dict):
                    raise RequestError(f"{self.file}: line {number} is not a JSON object; expected one object per line")
                yield line, row

    def values(self, column: str) -> Iterator[Any]:
        return (row.get(column) for _, row in self._read())

    def write(self, out: Path, names: Sequence[str], added: Iterable[tuple[Any, ...]]) -> None:
        with out.open("w", encoding="utf-8", newline="") as f:
            for (line, row), more in zip(self._read(), added, strict=True):
                tail = json.dumps(dict(zip(names, more, strict=True)), ensure_ascii=False)[1:]
                f.write(f"{line.rstrip()[:-1].rstrip()}{', ' if row else ''}{tail}\n")


class Parquet:
    """Parquet; other columns than the dialogues are copied block by block."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            with pq.ParquetFile(file) as parquet:
                self.schema, self.rows = parquet.schema_arrow, parquet.metadata.num_rows
        except pa.ArrowException as error:
            raise RequestError(f"{file} is not a Parquet file ({one_line(error, 100)})") from error
        self.columns = self.schema.names

    def _blocks(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(self.file) as parquet:
            yield from parquet.iter_batches(BLOCK_ROWS, columns=columns)

    def values(self, column: str) -> Iterator[Any]:
        """Binary values as text; RequestError at one that is not UTF-8."""
        position = self.columns.index(column)
        # Parquet joins the names of nested columns with dots, so that a name with a dot may select another column
        blocks = self._blocks() if "." in column else self._blocks([column])
        row = 0
        for block in blocks:
            for value in block.column(position if "." in column else 0).to_pylist():
                row += 1
                yield self._text(value, column, row) if isinstance(value, bytes) else value

    def _text(self, value: bytes, column: str, row: int) -> str:
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RequestError(not_utf8(f"{self.file}: {column} in row {row}", value)) from error

    def write(self, out: Path, names: Sequence[str], added: Iterable[tuple[Any, ...]]) -> None:
        schema, rest = self.schema, iter(added)
        for name, field in zip(names, OUTPUT_COLUMNS, strict=True):
            schema = schema.append(field.with_name(name))
        with pq.ParquetWriter(out, schema, compression="zstd") as writer:
            for block in self._blocks():
                more = [next(rest) for _ in range(block.num_rows)]
                arrays = [pa.array([row[i] for row in more], field.type) for i, field in enumerate(OUTPUT_COLUMNS)]
                writer.write_batch(pa.RecordBatch.from_arrays([*block.columns, *arrays], schema=schema))


READERS: dict[str, Any] = {
    **dict.fromkeys((".csv", ".tsv"), CsvFile),
    **dict.fromkeys((".jsonl", ".ndjson"), JsonLines),
    **dict.fromkeys((".parquet", ".pq"), Parquet),
}
"""File suffix -> class that reads it."""

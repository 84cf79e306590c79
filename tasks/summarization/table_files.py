"""Files with a dialogue a row: CSV, JSON lines, Parquet. Read as a stream, written back with columns added.

Whatever the file holds beside the dialogues is written as it came: CSV fields as text, JSON lines byte for byte, Parquet
with its types. No more than a block of rows is in memory.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from artifacts.errors import RequestError, nearest, one_line

LIKELY = ("dialogue", "conversation", "transcript", "dialog", "messages", "chat", "text", "content")
"""Names of the column with the dialogues, the first that is there."""
ADDED = pa.schema([("summary", pa.string()), ("tokens", pa.int32()), ("stop", pa.string()), ("model", pa.string())])
BLOCK = 4096
"""Rows of Parquet in memory at once."""


class Table(Protocol):
    """A file with a dialogue a row."""

    file: Path
    columns: list[str]
    rows: int

    def values(self, column: str) -> Iterator[Any]:
        """The column, row by row; None where a row has it not."""

    def write(self, out: Path, names: Sequence[str], added: Iterable[tuple[Any, ...]]) -> None:
        """The same rows with columns more, of the types of ADDED."""


def open_table(file: Path) -> Table:
    """Read a file once to its end: RequestError names the first row that does not read, before any work is done."""
    kind = KINDS.get(file.suffix.lower())
    if kind is None:
        raise RequestError(f"{file}: no table; expected {', '.join(KINDS)}")
    try:
        table: Table = kind(file)
    except UnicodeDecodeError as error:
        raise RequestError(f"{file} is not UTF-8 ({one_line(error, 100)}): save it as UTF-8") from error
    except OSError as error:
        raise RequestError(f"{file} cannot be read: {one_line(error.strerror or error, 120)}") from error
    return table


def pick_column(table: Table, wanted: str | None) -> str:
    """The column with the dialogues. RequestError if it is not there, or not obvious."""
    if wanted is not None:
        if wanted not in table.columns:
            raise RequestError(f"--column: no column {one_line(wanted, 60)!r}{nearest(wanted, table.columns)}")
        return wanted
    by_name = {name.strip().lower(): name for name in reversed(table.columns)}
    found = next((by_name[name] for name in LIKELY if name in by_name), None)
    if found is None and len(table.columns) == 1:
        found = table.columns[0]
    if found is None:
        listed = one_line(", ".join(table.columns), 200) or "none"
        raise RequestError(f"which column has the dialogues? --column NAME; found: {listed}")
    return found


def free_names(columns: Sequence[str]) -> list[str]:
    """Names of the columns that are added; `generated_summary` where there is a `summary` already."""
    names = []
    for name in ADDED.names:
        while name in columns:
            name = f"generated_{name}"
        names.append(name)
    return names


class Csv:
    """CSV or TSV with a header; the delimiter is the one of the header, the line ends and a byte order mark are kept."""

    def __init__(self, file: Path) -> None:
        self.file = file
        csv.field_size_limit(1 << 30)
        with file.open("rb") as f:
            first = f.readline()
        self.encoding = "utf-8-sig" if first.startswith(b"\xef\xbb\xbf") else "utf-8"
        self.ends = "\r\n" if first.endswith(b"\r\n") else "\n"
        header = first.decode(self.encoding, "replace")
        self.delimiter = max(",\t;", key=header.count)  # the first of equals
        reader = self._read()
        self.columns = next(reader, [])
        if not self.columns:
            raise RequestError(f"{file} is empty: expected a header with the names of the columns")
        self.rows = sum(1 for _ in reader)

    def _read(self) -> Iterator[list[str]]:
        """The header, and every row; RequestError at one with other fields than the header."""
        with self.file.open(encoding=self.encoding, newline="") as f:
            reader = csv.reader(f, delimiter=self.delimiter, strict=True)
            width = 0
            try:
                for row in reader:
                    width = width or len(row)
                    row = row or [""] * (width == 1)  # an empty line is a row only where there is one column
                    if row and len(row) != width:
                        raise RequestError(
                            f"{self.file}: line {reader.line_num} has {len(row)} fields, the header has {width}: "
                            "quote commas and quotes in texts"
                        )
                    if row:
                        yield row
            except csv.Error as error:
                raise RequestError(f"{self.file}: line {reader.line_num} is no CSV ({one_line(error, 100)})") from error

    def _body(self) -> Iterator[list[str]]:
        reader = self._read()
        next(reader)
        return reader

    def values(self, column: str) -> Iterator[Any]:
        place = self.columns.index(column)
        return (row[place] for row in self._body())

    def write(self, out: Path, names: Sequence[str], added: Iterable[tuple[Any, ...]]) -> None:
        with out.open("w", encoding=self.encoding, newline="") as f:
            # the writer quotes a lone carriage return only where it is a part of the line's end, as by default it is
            lines = SimpleNamespace(write=lambda line: f.write(line.removesuffix("\r\n") + self.ends))
            writer = csv.writer(lines, delimiter=self.delimiter)
            writer.writerow([*self.columns, *names])
            writer.writerows([*row, *more] for row, more in zip(self._body(), added, strict=True))


class JsonLines:
    """One JSON object a line; empty lines are no rows."""

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
                        f"{self.file}: line {number} is no JSON ({one_line(error, 100)}): one object a line is expected"
                    ) from error
                if not isinstance(row, dict):
                    raise RequestError(f"{self.file}: line {number} is no JSON object: one object a line is expected")
                yield line, row

    def values(self, column: str) -> Iterator[Any]:
        return (row.get(column) for _, row in self._read())

    def write(self, out: Path, names: Sequence[str], added: Iterable[tuple[Any, ...]]) -> None:
        with out.open("w", encoding="utf-8", newline="") as f:
            for (line, row), more in zip(self._read(), added, strict=True):
                tail = json.dumps(dict(zip(names, more, strict=True)), ensure_ascii=False)[1:]
                f.write(f"{line.rstrip()[:-1].rstrip()}{', ' if row else ''}{tail}\n")


class Parquet:
    """Parquet; columns that are not the dialogues are not even looked at."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            with pq.ParquetFile(file) as parquet:
                self.schema, self.rows = parquet.schema_arrow, parquet.metadata.num_rows
        except pa.ArrowException as error:
            raise RequestError(f"{file} is no Parquet file ({one_line(error, 100)})") from error
        self.columns = self.schema.names

    def _blocks(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(self.file) as parquet:
            yield from parquet.iter_batches(BLOCK, columns=columns)

    def values(self, column: str) -> Iterator[Any]:
        return (value for block in self._blocks([column]) for value in block.column(0).to_pylist())

    def write(self, out: Path, names: Sequence[str], added: Iterable[tuple[Any, ...]]) -> None:
        schema, rest = self.schema, iter(added)
        for name, field in zip(names, ADDED, strict=True):
            schema = schema.append(field.with_name(name))
        with pq.ParquetWriter(out, schema, compression="zstd") as writer:
            for block in self._blocks():
                more = [next(rest) for _ in range(block.num_rows)]
                arrays = [pa.array([row[i] for row in more], field.type) for i, field in enumerate(ADDED)]
                writer.write_batch(pa.RecordBatch.from_arrays([*block.columns, *arrays], schema=schema))


KINDS: dict[str, Any] = {
    ".csv": Csv, ".tsv": Csv, ".jsonl": JsonLines, ".ndjson": JsonLines, ".parquet": Parquet, ".pq": Parquet,
}  # fmt: skip

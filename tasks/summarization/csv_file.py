"""CSV and similar text tables: the delimiter and the line ends are those of the header, and stay as they are."""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from artifacts.errors import RequestError
from artifacts.text import one_line

DELIMITERS = (",", "\t", ";", "|")
"""The first one, if several are equally frequent in the header."""
_SEP_LINE = re.compile(r'"?sep=(.)"?[\r\n]*\Z')
"""Excel's first line that names the delimiter; it is no header."""
_LINE_ENDS = ("\r\n", "\n", "\r")


class CsvFile:
    """A table in which a character separates the fields of a row; a byte order mark and a `sep=` line are kept."""

    def __init__(self, file: Path) -> None:
        self.file = file
        csv.field_size_limit(1 << 30)
        with file.open("rb") as f:
            self.encoding = "utf-8-sig" if f.read(3) == b"\xef\xbb\xbf" else "utf-8"
        self.sep_line, header = self._first_lines()
        declared = _SEP_LINE.match(self.sep_line)
        self.delimiter = declared[1] if declared else _most_frequent_delimiter(header)
        self.line_end = next((end for end in _LINE_ENDS if header.endswith(end)), "\n")
        reader = self._read()
        self.columns = next(reader, [])
        if not self.columns:
            raise RequestError(f"{file} is empty; expected a header with the names of the columns")
        self.rows = sum(1 for _ in reader)

    def _first_lines(self) -> tuple[str, str]:
        """The `sep=` line, empty if there is none, and the header, which may contain line breaks in quotes."""
        with self.file.open(encoding=self.encoding, newline="") as f:
            first = f.readline()
            sep_line, header = (first, f.readline()) if _SEP_LINE.match(first) else ("", first)
            for line in f:
                if header.count('"') % 2 == 0:
                    break
                header += line
        return sep_line, header

    def _read(self) -> Iterator[list[str]]:
        """The header and every row; RequestError at a row with more or fewer fields than the header."""
        with self.file.open(encoding=self.encoding, newline="") as f:
            if self.sep_line:
                f.readline()
            reader = csv.reader(f, delimiter=self.delimiter, strict=True)
            first_line = bool(self.sep_line)
            width = 0
            try:
                for row in reader:
                    width = width or len(row)
                    row = row or [""] * (width == 1)  # an empty line is a row only in a table of one column
                    if row and len(row) != width:
                        raise RequestError(
                            f"{self.file}: line {reader.line_num + first_line} has {len(row)} fields, but the header "
                            f"has {width} (delimiter {self.delimiter!r}): quote texts that contain delimiters or quotes"
                        )
                    if row:
                        yield row
            except csv.Error as error:
                raise RequestError(
                    f"{self.file}: line {reader.line_num + first_line} is not valid CSV ({one_line(error, 100)})"
                ) from error

    def _body(self) -> Iterator[list[str]]:
        reader = self._read()
        next(reader)
        return reader

    def values(self, column: str) -> Iterator[Any]:
        position = self.columns.index(column)
        return (row[position] for row in self._body())

    def write(self, out: Path, names: Sequence[str], added: Iterable[tuple[Any, ...]]) -> None:
        with out.open("w", encoding=self.encoding, newline="") as f:
            f.write(self.sep_line)
            # the default line end, \r\n, makes the writer quote fields with a single carriage return
            lines = SimpleNamespace(write=lambda line: f.write(line.removesuffix("\r\n") + self.line_end))
            writer = csv.writer(lines, delimiter=self.delimiter)
            writer.writerow([*self.columns, *names])
            writer.writerows([*row, *more] for row, more in zip(self._body(), added, strict=True))


def _most_frequent_delimiter(header: str) -> str:
    """Counted outside of quoted names, which may contain delimiters."""
    unquoted = re.sub(r'"(?:[^"]|"")*"', "", header)
    return max(DELIMITERS, key=unquoted.count)

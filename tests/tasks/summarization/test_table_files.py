"""Tables keep their rows, their order and all that is in other columns, however wild it is."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifacts.errors import RequestError
from tasks.summarization.table_files import OUTPUT_COLUMNS, free_names, open_table, pick_column

quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
cell = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
answer = st.tuples(cell, st.integers(0, 9), st.sampled_from(["stop_token", "limit"]), st.just("m"))


def through(file: Path, answers: list[tuple[Any, ...]]) -> Path:
    """Written again with the answers beside each row."""
    table = open_table(file)
    assert table.rows == len(answers)
    out = file.with_name(f"out{file.suffix}")
    table.write(out, free_names(table.columns), answers)
    return out


@quick
@given(
    st.lists(st.tuples(cell, cell, answer), max_size=8),
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
def test_csv_keeps_every_field(tmp_path: Path, rows: list[Any], delimiter: str, ends: str, mark: bool) -> None:
    """Read back with the standard library: the same fields, then the answers; line ends and mark as they were."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ends, quoting=csv.QUOTE_ALL)
    writer.writerows([["id", "dialogue", "note"], *[[str(i), a, b] for i, (a, b, _) in enumerate(rows)]])
    file = tmp_path / "in.csv"
    file.write_bytes(b"\xef\xbb\xbf" * mark + text.getvalue().encode())
    assert list(open_table(file).values("dialogue")) == [a for a, _, _ in rows]
    out = through(file, [more for _, _, more in rows]).read_bytes()
    assert out.startswith(b"\xef\xbb\xbf") == mark
    assert out.endswith(ends.encode())
    lines = list(csv.reader(io.StringIO(out.decode("utf-8-sig"), newline=""), delimiter=delimiter))
    assert lines[0] == ["id", "dialogue", "note", *OUTPUT_COLUMNS.names]
    assert lines[1:] == [[str(i), a, b, *map(str, more)] for i, (a, b, more) in enumerate(rows)]


@quick
@given(
    st.lists(
        st.tuples(
            st.dictionaries(
                cell, st.recursive(st.none() | st.booleans() | st.floats() | cell, st.lists, max_leaves=4), max_size=4
            ),
            answer,
        ),
        max_size=8,
    )
)
def test_json_lines_keep_every_byte_of_a_row(tmp_path: Path, rows: list[Any]) -> None:
    """The original fields of a line are unchanged, digit for digit; the new ones follow them."""
    file = tmp_path / "in.jsonl"
    lines = [json.dumps(row, ensure_ascii=i % 2 == 0) for i, (row, _) in enumerate(rows)]
    file.write_text("\n\n".join(lines), encoding="utf-8", newline="")
    out = through(file, [more for _, more in rows]).read_text(encoding="utf-8")
    written = out.split("\n")[:-1]
    assert len(written) == len(rows)
    for line, source, (row, more) in zip(written, lines, rows, strict=True):
        assert line.startswith(source[:-1])
        names = free_names([name for row, _ in rows for name in row])
        assert list(json.loads(line).items())[len(row) :] == list(zip(names, more, strict=True))


def test_parquet_keeps_types_order_and_metadata(tmp_path: Path) -> None:
    """Nested, dated and missing values; more rows than a block."""
    rows, file = 9000, tmp_path / "in.parquet"
    frame = pd.DataFrame(
        {
            "dialogue": [None if i % 7 == 0 else f"Ann: {i}" for i in range(rows)],
            "at": pd.date_range("2026-01-01", periods=rows, freq="min", tz="UTC"),
            "tags": [[str(i), None] for i in range(rows)],
        }
    )
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table, file, row_group_size=1000)
    out = pq.read_table(through(file, [(f"s{i}", i, "limit", "m") for i in range(rows)]))
    assert out.drop(OUTPUT_COLUMNS.names).equals(pq.read_table(file), check_metadata=True)
    assert out["summary"].to_pylist() == [f"s{i}" for i in range(rows)]
    assert out["tokens"].to_pylist() == list(range(rows))


@pytest.mark.parametrize(
    ("columns", "column", "expected"),
    [
        (["id", "Dialogue", "text"], None, "Dialogue"),
        (["id", "transcript"], None, "transcript"),
        (["whatever"], None, "whatever"),
        (["id", "text"], "id", "id"),
    ],
)
def test_an_obvious_column_is_detected(tmp_path: Path, columns: list[str], column: str | None, expected: str) -> None:
    """By the name that was given, by a usual one, or because there is no other."""
    (tmp_path / "in.csv").write_text(",".join(columns) + "\n")
    assert pick_column(open_table(tmp_path / "in.csv"), column) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty; expected a header"),
        ("a.csv", b"id,dialogue\n1,a,b\n", "line 2 has 3 fields, but the header has 2"),
        ("a.csv", b'id,dialogue\n1,"a\n', "line 2 is not valid CSV"),
        ("a.csv", b"id,dialogue\n1,\xff\n", "is not UTF-8"),
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "line 2 is not valid JSON"),
        ("a.jsonl", b"[1]\n", "line 1 is not a JSON object"),
        ("a.parquet", b"PAR", "is not a Parquet file"),
        ("a.xlsx", b"", "not a table; expected .csv"),
        ("b.csv", None, "cannot be read"),
    ],
)
def test_a_file_that_does_not_read_is_refused_before_any_work(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    """With the line that is wrong."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RequestError, match=message):
        open_table(tmp_path / name)


def test_an_unclear_column_must_be_named(tmp_path: Path) -> None:
    """With those that are there."""
    (tmp_path / "in.csv").write_text("id,words,more\n")
    with pytest.raises(RequestError, match=r"--column NAME; columns: id, words, more"):
        pick_column(open_table(tmp_path / "in.csv"), None)
    with pytest.raises(RequestError, match="did you mean 'words'"):
        pick_column(open_table(tmp_path / "in.csv"), "word")


def test_columns_that_are_there_already_are_kept() -> None:
    """DialogSum's own files have a summary."""
    assert free_names(["id", "summary", "generated_summary"])[0] == "generated_generated_summary"

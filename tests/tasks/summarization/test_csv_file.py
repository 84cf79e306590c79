"""CSV files as programs write them: the delimiter, the header and the line ends are recognized and kept."""

from pathlib import Path

import pytest

from artifacts.errors import RequestError
from tasks.summarization.table_files import open_table

ADDED = ("S", 1, "stop_token", "m")
NAMES = ("summary", "tokens", "stop", "model")


def written(file: Path) -> bytes:
    out = file.with_name(f"out{file.suffix}")
    table = open_table(file)
    table.write(out, NAMES, [ADDED] * table.rows)
    return out.read_bytes()


@pytest.mark.parametrize(
    ("content", "columns", "first", "expected"),
    [
        (
            b"sep=;\nid;dialogue\n1;A: a, b\n",
            ["id", "dialogue"],
            "A: a, b",
            b"sep=;\nid;dialogue;summary;tokens;stop;model\n1;A: a, b;S;1;stop_token;m\n",
        ),
        (
            b'"sep=|"\r\nid|dialogue\r\n1|A: a;b;c;d\r\n',
            ["id", "dialogue"],
            "A: a;b;c;d",
            b'"sep=|"\r\nid|dialogue|summary|tokens|stop|model\r\n1|A: a;b;c;d|S|1|stop_token|m\r\n',
        ),
        (
            b'"id, no";"dialogue, ""text"", all"\n1;A: a\n',
            ["id, no", 'dialogue, "text", all'],
            "1",
            b'id, no;"dialogue, ""text"", all";summary;tokens;stop;model\n1;A: a;S;1;stop_token;m\n',
        ),
        (
            b'"the\nid, of, all";dialogue\n1;A: a\n',
            ["the\nid, of, all", "dialogue"],
            "1",
            b'"the\nid, of, all";dialogue;summary;tokens;stop;model\n1;A: a;S;1;stop_token;m\n',
        ),
        (
            b"dialogue;id\rA: a, b, c;1\rB: d, e, f;2\r",
            ["dialogue", "id"],
            "A: a, b, c",
            b"dialogue;id;summary;tokens;stop;model\rA: a, b, c;1;S;1;stop_token;m\rB: d, e, f;2;S;1;stop_token;m\r",
        ),
        (
            b'id|dialogue\n1|"A: a\nB: b"\n',
            ["id", "dialogue"],
            "1",
            b'id|dialogue|summary|tokens|stop|model\n1|"A: a\nB: b"|S|1|stop_token|m\n',
        ),
    ],
    ids=["sep line", "quoted sep line", "delimiter in names", "line break in a name", "carriage returns", "pipes"],
)
def test_a_table_is_read_by_its_own_rules_and_written_back_by_them(
    tmp_path: Path, content: bytes, columns: list[str], first: str, expected: bytes
) -> None:
    file = tmp_path / "in.csv"
    file.write_bytes(content)
    table = open_table(file)
    assert table.columns == columns
    assert next(iter(table.values("dialogue" if first.startswith("A") else columns[0]))) == first
    assert written(file) == expected


def test_a_row_of_another_width_is_named_by_its_line_below_a_sep_line(tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_bytes(b"sep=;\nid;dialogue\n1;A\n2;B;C\n")
    with pytest.raises(RequestError, match="line 4 has 3 fields, but the header has 2"):
        open_table(file)

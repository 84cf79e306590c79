"""A file that is not UTF-8 is refused with the name of the encoding that it has."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from artifacts.errors import RequestError
from tasks.summarization.table_files import open_table
from tasks.summarization.text_encoding import not_utf8

TEXT = "id;dialogue\n1;Jürgen: Schöne Grüße aus Köln, es wäre schön, wenn Ihr später kämt.\n" * 20


@pytest.mark.parametrize(
    ("encoding", "named"),
    [("utf-16", "UTF-16"), ("utf-32", "UTF-32"), ("utf-16-be", "utf-16"), ("cp1252", "cp125"), ("cp1251", "cp125")],
)
def test_the_encoding_is_named(tmp_path: Path, encoding: str, named: str) -> None:
    text = TEXT if encoding != "cp1251" else "id;dialogue\n1;Анна: Привет, как твои дела сегодня вечером?\n" * 20
    content = text.encode(encoding)
    file = tmp_path / "in.csv"
    file.write_bytes((b"\xfe\xff" if encoding == "utf-16-be" else b"") + content)
    with pytest.raises(RequestError, match="save it as UTF-8") as refused:
        open_table(file)
    assert named.lower() in str(refused.value).lower()


def test_bytes_that_are_no_text_are_refused_without_a_guess() -> None:
    assert not_utf8("x", bytes(range(128, 256)) * 8).startswith("x is not UTF-8")


def test_a_binary_column_is_read_as_text_and_other_bytes_are_named_by_row(tmp_path: Path) -> None:
    file = tmp_path / "in.parquet"
    pq.write_table(pa.table({"dialogue": pa.array(["Ann: ä".encode(), "Ben: ö".encode()], pa.binary())}), file)
    assert list(open_table(file).values("dialogue")) == ["Ann: ä", "Ben: ö"]
    pq.write_table(pa.table({"dialogue": pa.array([b"Ann: a", "Ben: ö".encode("cp1252")], pa.binary())}), file)
    with pytest.raises(RequestError, match="dialogue in row 2 is not UTF-8"):
        list(open_table(file).values("dialogue"))


def test_a_column_with_a_dot_in_its_name_is_not_a_part_of_a_struct(tmp_path: Path) -> None:
    file = tmp_path / "in.parquet"
    table = pa.table({"chat": [{"text": "WRONG"}, {"text": "WRONG"}], "chat.text": ["Ann: a", "Ben: b"]})
    pq.write_table(table, file)
    assert list(open_table(file).values("chat.text")) == ["Ann: a", "Ben: b"]
    assert list(open_table(file).values("chat")) == [{"text": "WRONG"}] * 2

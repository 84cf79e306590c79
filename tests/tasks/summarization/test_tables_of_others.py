"""Tables as programs and people write them (tests/corpus_tables): each cell is read by its letters, or refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from artifacts.errors import RequestError
from artifacts.record import Record
from flows.inference.summarize_file import summarize_file
from flows.inference.transcript_input import parse_input
from tasks.summarization.request import SummarizeRequest
from tasks.summarization.table_files import READERS, free_names, open_table, pick_column
from tasks.transcripts.conversation import parse_conversation
from tasks.workers.events import NullListener
from tests.support.paths import ROOT
from tests.support.transcripts import Expectation, Said, difference, said

TABLES = ROOT / "tests" / "corpus_tables"
FILES = sorted(file for file in TABLES.iterdir() if file.suffix in READERS)


class TableExpectation(Record):
    """What a person reads in a table: NAME.expected.json beside it."""

    address: str
    """The public report that the file was made after."""
    about: str
    column_option: str | None = None
    """Value of `--column`."""
    column: str | None = None
    """The column that has to be found."""
    rows: list[list[Said]] | None = None
    """Who says what in each row."""
    values: list[Any] | None = None
    """The cells, unread."""
    kept: str = Field(default="")
    """What the written table still contains, to the letter."""
    refused: str = ""
    """Words of the refusal."""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_table_is_read_as_a_person_reads_it(file: Path, tmp_path: Path) -> None:
    expected = TableExpectation.model_validate_json(file.with_suffix(".expected.json").read_bytes())
    if expected.refused:
        with pytest.raises(RequestError, match=expected.refused):
            open_table(file)
        return
    table = open_table(file)
    column = pick_column(table, expected.column_option)
    assert expected.column in (None, column)
    cells = list(table.values(column))
    assert expected.values in (None, cells)
    for turns, cell in zip(expected.rows or [], cells if expected.rows else [], strict=True):
        expectation = Expectation(address=expected.address, about=expected.about, turns=tuple(turns))
        assert difference(expectation, said(parse_conversation(cell))) is None
    out = tmp_path / file.name
    table.write(out, free_names(table.columns), [("S", 1, "stop_token", "m")] * table.rows)
    assert expected.kept.encode() in out.read_bytes()
    assert list(open_table(out).values("summary")) == ["S"] * table.rows


@pytest.mark.parametrize("cells", [["", "  "], [7, None], [[], {}]], ids=["empty", "numbers", "no turns"])
def test_a_column_of_which_no_row_is_a_dialogue_is_refused(tmp_path: Path, cells: list[Any]) -> None:
    """Once, by name, and not row by row as skipped."""
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps({"id": "x", "dialogue": cell}) + "\n" for cell in cells))
    for call in (parse_input, lambda request: summarize_file(request, NullListener())):
        with pytest.raises(RequestError, match="no row has a dialogue in the column 'dialogue': name another"):
            call(SummarizeRequest(source=str(file), adapter="none"))


def test_a_table_in_which_one_row_is_a_dialogue_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    file.write_text("".join(json.dumps({"dialogue": cell}) + "\n" for cell in ("", "Ann: Hi.\nBob: Ho.")))
    assert parse_input(SummarizeRequest(source=str(file))).rows == 2

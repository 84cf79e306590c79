"""Tables with one message per row: whole conversations are summarized, each once; other tables stay as they are."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.inference.transcript_input import parse_input, text_lines
from tasks.summarization.message_table import MESSAGES, conversations_of, message_columns
from tasks.summarization.request import SummarizeRequest
from tasks.summarization.table_files import open_table
from tasks.transcripts.conversation import parse_conversation

ZENDESK = ["Ticket ID", "Comment author", "Comment created at", "Comment body"]
ROWS = [
    ["71", "Ann", "2024-05-01T10:00:00Z", "My order, no. 5, is late."],
    ["72", "Eva", "2024-05-01T10:01:00Z", "Where is the key?"],
    ["71", "Support", "2024-05-01T10:02:00Z", "It left today."],
    ["71", "Ann", "2024-05-01T10:03:00Z", "Thanks!"],
    ["72", "Support", "2024-05-01T10:09:00Z", "In the drawer."],
]
TURNS = {
    "71": [("Ann", "My order, no. 5, is late."), ("Support", "It left today."), ("Ann", "Thanks!")],
    "72": [("Eva", "Where is the key?"), ("Support", "In the drawer.")],
}
ADDED = [("S1", 3, "stop_token", "m"), ("S2", 2, "stop_token", "m")]
NAMES = ("summary", "tokens", "stop", "model")


def write(file: Path, header: list[str], rows: list[list[str]]) -> Path:
    if file.suffix == ".csv":
        with file.open("w", newline="") as f:
            csv.writer(f).writerows([header, *rows])
    elif file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(dict(zip(header, row, strict=True))) + "\n" for row in rows))
    else:
        pq.write_table(pa.table({name: [row[i] for row in rows] for i, name in enumerate(header)}), file)
    return file


def read(file: Path) -> list[dict[str, Any]]:
    if file.suffix == ".csv":
        with file.open(newline="") as f:
            return [dict(row) for row in csv.DictReader(f)]
    return [json.loads(line) for line in file.open()] if file.suffix == ".jsonl" else pq.read_table(file).to_pylist()


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_messages_are_grouped_by_conversation_in_the_order_of_their_times(tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path / f"in{suffix}", ZENDESK, [ROWS[3], *ROWS[:3], ROWS[4]])
    table = conversations_of(open_table(file))
    assert table is not None
    assert list(table.values("Ticket ID")) == ["71", "72"]
    turns = [[(t.speaker, t.text) for t in parse_conversation(value).turns] for value in table.values(MESSAGES)]
    assert turns == list(TURNS.values())
    out = tmp_path / f"out{suffix}"
    table.write(out, NAMES, ADDED)
    assert [[str(value) for value in row.values()] for row in read(out)] == [
        ["71", "3", "S1", "3", "stop_token", "m"],
        ["72", "2", "S2", "2", "stop_token", "m"],
    ]


def test_the_command_says_how_rows_are_grouped(tmp_path: Path) -> None:
    file = write(tmp_path / "in.csv", ZENDESK, ROWS)
    lines = text_lines(parse_input(SummarizeRequest(source=str(file))))
    assert lines[0].startswith("each row is a message: 5 messages of 2 conversations (columns Comment author, ")
    assert "--column Comment body takes each row as a dialogue" in lines[0]
    assert "  Support: In the drawer." in lines
    each = parse_input(SummarizeRequest(source=str(file), column="Comment body"))
    assert each.rows == 5


def test_without_a_conversation_column_all_rows_are_one_conversation(tmp_path: Path) -> None:
    file = write(tmp_path / "in.csv", ["created_at", "author_name", "body"], [[r[2], r[1], r[3]] for r in ROWS])
    table = conversations_of(open_table(file))
    assert table is not None
    assert table.rows == 1


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (["conversation_id", "author_type", "author_name", "body", "created_at"], "author_name"),
        (["id", "dialogue", "author", "date"], None),
        (["author", "text"], None),
        (["ticket_id", "body", "created_at"], None),
    ],
)
def test_columns_are_known_by_their_usual_names(header: list[str], expected: str | None) -> None:
    columns = message_columns(header)
    assert (columns.speaker if columns else None) == expected


@pytest.mark.parametrize(
    "rows",
    [
        [[str(n), f"Customer {n}", "2024-05-01", f"Ann: Hi {n}.\nBob: Ho."] for n in range(4)],  # a dialogue per ticket
        [[str(n), "Ann", "2024-05-01", f"Text {n}"] for n in range(4)],  # one text per ticket
        [["1", "Ann", "2024-05-01", f"Ann: Hi {n}.\nBob: Ho."] for n in range(4)],
    ],
    ids=["dialogues by ticket", "texts by ticket", "dialogues of one person"],
)
def test_rows_that_are_no_messages_stay_rows(tmp_path: Path, rows: list[list[str]]) -> None:
    assert conversations_of(open_table(write(tmp_path / "in.csv", ZENDESK, rows))) is None

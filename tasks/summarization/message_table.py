"""Tables with one message per row, as Zendesk, Intercom and others export them: grouped into conversations."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.summarization.table_files import OUTPUT_COLUMNS, Table
from tasks.transcripts.conversation import parse_conversation

MESSAGES = "messages"
"""The column of a MessageTable with the messages of each conversation."""
SPEAKER_COLUMNS = (
    "author name",
    "sender name",
    "from name",
    "user name",
    "author",
    "sender",
    "speaker",
    "from",
    "user",
)
TEXT_COLUMNS = ("plain body", "message body", "message text", "body", "message", "text", "comment", "content")
TIME_COLUMNS = ("created at", "sent at", "timestamp", "created", "datetime", "time", "date")
CONVERSATION_COLUMNS = ("conversation id", "ticket id", "thread id", "chat id", "case id", "session id", "ticket")
"""Usual names of columns, in small letters, most specific first; a column may have words before them."""
DIALOGUE_COLUMNS = frozenset({"dialogue", "dialog", "transcript", "messages", "chat"})
"""A table with one of these has one dialogue per row."""
MAX_SHARE_OF_DIALOGUES = 0.2
"""If more texts than this share have several turns, each row is a dialogue."""


class MessageColumns(NamedTuple):
    """Columns of a table of messages; it has a time, a conversation, or both."""

    speaker: str
    text: str
    time: str | None
    conversation: str | None


class MessageTable:
    """A table of messages seen as a table with one conversation per row.

    Without a column that tells conversations apart, all messages are one conversation.
    """

    def __init__(self, table: Table, columns: MessageColumns) -> None:
        self.file = table.file
        self.columns = [columns.conversation or "conversation", MESSAGES]
        names = [name for name in columns if name is not None]
        self.conversations: dict[str, list[dict[str, Any]]] = {}
        for cells in zip(*(table.values(name) for name in names), strict=True):
            row = dict(zip(names, cells, strict=True))
            message = {"speaker": row[columns.speaker], "text": row[columns.text]}
            if columns.time is not None:
                message["time"] = row[columns.time]
            name = str(row[columns.conversation]) if columns.conversation else "1"
            self.conversations.setdefault(name, []).append(message)
        self.rows = len(self.conversations)
        self.reason = (
            f"each row is a message: {table.rows} messages of {self.rows} conversations "
            f"(columns {', '.join(names)}); --column {columns.text} takes each row as a dialogue"
        )

    def values(self, column: str) -> Iterator[Any]:
        """Names of the conversations, or for MESSAGES lists of {"speaker", "text", "time"}."""
        return iter(self.conversations.values() if column == MESSAGES else self.conversations)

    def write(self, out: Path, names: Sequence[str], added: Iterable[tuple[Any, ...]]) -> None:
        """Write one row per conversation: its name, the number of its messages, and the added columns."""
        conversations = zip(self.conversations.items(), added, strict=True)
        rows = [(name, len(messages), *more) for (name, messages), more in conversations]
        header, suffix = [*self.columns, *names], self.file.suffix.lower()
        if suffix in (".csv", ".tsv"):
            with out.open("w", encoding="utf-8", newline="") as f:
                writer = csv.writer(f, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
                writer.writerows([header, *rows])
        elif suffix in (".jsonl", ".ndjson"):
            with out.open("w", encoding="utf-8", newline="") as f:
                f.writelines(json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) + "\n" for row in rows)
        else:
            types = [pa.string(), pa.int32(), *OUTPUT_COLUMNS.types]
            columns = zip(*rows, strict=True) if rows else ([] for _ in types)
            arrays = [pa.array(column, kind) for column, kind in zip(columns, types, strict=True)]
            pq.write_table(pa.table(dict(zip(header, arrays, strict=True))), out)

    def has_conversations(self) -> bool:
        """Whether speakers take turns, and no text is a dialogue by itself."""
        messages = [message for conversation in self.conversations.values() for message in conversation]
        speakers = {(name, str(m["speaker"])) for name, group in self.conversations.items() for m in group}
        dialogues = sum(len(parse_conversation(message["text"]).turns) > 1 for message in messages)
        return (
            self.rows <= len(messages) / 2
            and self.rows < len(speakers) < len(messages)
            and dialogues <= MAX_SHARE_OF_DIALOGUES * len(messages)
        )


def conversations_of(table: Table) -> MessageTable | None:
    """The conversations of a table with one message per row; None if its rows are something else."""
    columns = message_columns(table.columns)
    messages = MessageTable(table, columns) if columns else None
    return messages if messages is not None and messages.has_conversations() else None


def message_columns(columns: Sequence[str]) -> MessageColumns | None:
    """The columns of a table of messages by their usual names; None if one that is needed is missing."""
    by_name = {" ".join(name.lower().replace("_", " ").replace("-", " ").split()): name for name in reversed(columns)}
    if DIALOGUE_COLUMNS & by_name.keys():
        return None

    def first(known: Sequence[str]) -> str | None:
        matches = (by_name[key] for name in known for key in by_name if key == name or key.endswith(f" {name}"))
        return next(matches, None)

    speaker, text, time, conversation = map(first, (SPEAKER_COLUMNS, TEXT_COLUMNS, TIME_COLUMNS, CONVERSATION_COLUMNS))
    if speaker is None or text is None or speaker == text or (time is None and conversation is None):
        return None
    return MessageColumns(speaker, text, time, conversation)

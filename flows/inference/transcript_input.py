"""Parses the input of `summarize`: its format with the reason, who says what, and what is lost."""

import json
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from artifacts.errors import RequestError
from artifacts.text import one_line
from artifacts.user_paths import user_path
from tasks.summarization.message_table import MESSAGES, MessageTable, conversations_of
from tasks.summarization.request import SummarizeRequest
from tasks.summarization.table_files import READERS, Table, open_table, pick_column
from tasks.transcripts.conversation import Conversation, all_losses, parse_conversation
from tasks.transcripts.formats import FORMAT_NAMES
from tasks.transcripts.records import Loss

CONVERSATION_SUFFIXES = (".txt", ".md", ".vtt", ".srt", ".sbv", ".ttml", ".dfxp", ".xml", ".log", ".json", "")
"""Suffixes of files with one conversation."""
SHOWN_ROWS = 3
"""Rows of a table that `--show` prints."""


class ParsedInput(NamedTuple):
    """The conversations of a file, or the first ones of a table."""

    conversations: list[Conversation]
    losses: tuple[Loss, ...]
    """Of the whole file."""
    rows: int | None = None
    """Of a table."""
    remark: str = ""
    """How the rows of a table were grouped."""


def parse_input(request: SummarizeRequest) -> ParsedInput:
    """Parse the input without a model. RequestError if it cannot be read or, with `strict`, if anything is lost."""
    check_format(request.format)
    file = source_file(request)
    if file is not None and file.suffix.lower() in READERS:
        table, column = open_conversations(file, request.column)
        first = [parse_conversation(value, request.format) for value in islice(table.values(column), SHOWN_ROWS)]
        losses = table_losses(table, column, request.format)
        remark = table.reason if isinstance(table, MessageTable) else ""
        parsed = ParsedInput(first, losses, table.rows, remark)
    else:
        _, conversation = read_conversation(file, request.format)
        parsed = ParsedInput([conversation], conversation.losses)
    if request.strict:
        refuse_losses(parsed.losses, request.source)
    return parsed


def open_conversations(file: Path, column: str | None) -> tuple[Table, str]:
    """A table with one dialogue per row and the column that holds it. RequestError as `open_table` and `pick_column`.

    Rows that are messages are grouped into conversations, unless `column` says that each row is a dialogue.
    """
    table = open_table(file)
    if column is None and (messages := conversations_of(table)) is not None:
        return messages, MESSAGES
    return table, pick_column(table, column)


def table_losses(table: Table, column: str, format: str | None) -> tuple[Loss, ...]:
    """The losses of all rows of a table, added up. RequestError if no row has a dialogue."""
    with_text = 0

    def conversations() -> Iterator[Conversation]:
        nonlocal with_text
        for value in table.values(column):
            conversation = parse_conversation(value, format)
            with_text += bool(conversation.text)
            yield conversation

    losses = all_losses(conversations())
    if table.rows and not with_text:
        columns = one_line(", ".join(table.columns), 200)
        raise RequestError(
            f"{table.file}: no row has a dialogue in the column {one_line(column, 60)!r}: name another with --column; "
            f"columns: {columns}"
        )
    return losses


def refuse_losses(losses: Iterable[Loss], source: str) -> None:
    """RequestError if there are any."""
    if sentences := [loss.sentence for loss in losses]:
        raise RequestError(
            f"{source}: {'; '.join(sentences)}: --strict allows no loss; --show prints the parsed conversation"
        )


def check_format(name: str | None) -> None:
    """RequestError if a format is unknown."""
    if name is not None and name not in FORMAT_NAMES:
        raise RequestError(f"--format: {one_line(name, 40)} is unknown; expected {', '.join(FORMAT_NAMES)}")


def source_file(request: SummarizeRequest) -> Path | None:
    """The input; None for standard input."""
    return None if request.source == "-" else user_path(request.source, "INPUT")


def read_text(file: Path | None) -> str:
    """The text of a file or of standard input. RequestError if it cannot be read or is not UTF-8."""
    try:
        return (sys.stdin.buffer.read() if file is None else file.read_bytes()).decode("utf-8-sig")
    except OSError as error:
        raise RequestError(f"{file} cannot be read: {one_line(error.strerror or error, 120)}") from error
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{file or 'standard input'} is not UTF-8 ({one_line(error, 80)}): save it as UTF-8"
        ) from error


def read_conversation(file: Path | None, format: str | None) -> tuple[str, Conversation]:
    """The text of one conversation, and the conversation. RequestError if it cannot be read or contains no dialogue."""
    if file is not None and file.suffix.lower() not in CONVERSATION_SUFFIXES:
        conversations, tables = ", ".join(filter(None, CONVERSATION_SUFFIXES)), ", ".join(READERS)
        raise RequestError(f"{file}: expected one conversation ({conversations}) or a table ({tables})")
    text = read_text(file)
    conversation = parse_conversation(text, format)
    if file is not None and file.suffix.lower() == ".json":
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"{file} is not valid JSON ({one_line(error, 100)})") from error
        if not conversation.text or conversation.text == text.strip():
            raise RequestError(f"{file} contains no messages with text; for many dialogues, use JSON lines (.jsonl)")
    if not conversation.text and format is not None:
        raise RequestError(
            f"{file or 'standard input'}: nothing in it has the format {format}: leave out --format to detect it"
        )
    if not conversation.text:
        raise RequestError(f"{file or 'standard input'} contains no dialogue: nobody says anything in it")
    return text, conversation


def as_json(parsed: ParsedInput) -> dict[str, Any]:
    """`{"conversations": [{"format", "reason", "turns": [{"speaker", "text", "time"}]}], "losses": […], "rows"}`."""
    conversations = [
        {
            "format": conversation.format,
            "reason": conversation.reason,
            "turns": [turn._asdict() for turn in conversation.turns],
            "text": conversation.text,
        }
        for conversation in parsed.conversations
    ]
    losses = [{"kind": loss.kind.name.lower(), "count": loss.count} for loss in parsed.losses]
    return {"conversations": conversations, "losses": losses, "rows": parsed.rows}


def text_lines(parsed: ParsedInput) -> list[str]:
    """The format and its reason, then a line for each turn; a turn without a speaker begins with `-`."""
    lines = [parsed.remark] if parsed.remark else []
    for number, conversation in enumerate(parsed.conversations, start=1):
        row = f"row {number} of {parsed.rows}: " if parsed.rows is not None else ""
        lines.append(f"{row}{conversation.format}: {conversation.reason}")
        turns = [f"{turn.speaker or '-'}: {turn.text}" for turn in conversation.turns]
        lines += [f"  {line}" for line in turns or conversation.text.split("\n")]
    return lines

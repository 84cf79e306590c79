"""Errors in the log of a station's Prefect server, for `station status`."""

import os
import re
from datetime import datetime, timedelta
from pathlib import Path

from artifacts.record import Record
from artifacts.text import one_line
from flows.station.log_rotation import former

RECENT = timedelta(days=1)
"""Older errors are not counted."""
LINE = re.compile(r"^(?:(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)|\d\d:\d\d:\d\d)\.\d{3} \| ([A-Z]+) +\| ", re.MULTILINE)
"""The first line of a record; its time and its level."""
TRACEBACK = "Traceback (most recent call last):"
LOCKED = "(sqlite3.OperationalError) database is locked"
LOST = "will be moved to the dead letter queue"


class LogErrors(Record):
    """What went wrong according to a log."""

    count: int
    last: str
    """The first and the last line of the last of them; empty if there are none."""
    locked: int
    """Errors, not counted above, because two transactions met in SQLite: Prefect or its client tries again."""
    lost: int
    """Events that Prefect has not evaluated, after several of those errors."""


def read_errors(log: Path, start: int, now: datetime) -> LogErrors:
    """The errors of the last day after byte `start` of a log.

    start: a negative number counts from the end of the former log, which was rotated since.
    now: local time, as the log has it.
    """
    text = (_read(former(log), start) if start < 0 else "") + _read(log, max(0, start))
    errors, locked, lost = list[str](), 0, 0
    for record in _records(text):
        line = LINE.match(record)
        if line and line[1] and now - datetime.fromisoformat(line[1]) > RECENT:
            continue
        serious = TRACEBACK in record or (line is not None and line[2] in ("ERROR", "CRITICAL"))
        lost += LOST in record
        if serious and LOCKED in record:
            locked += 1
        elif serious:
            errors.append(record)
    return LogErrors(count=len(errors), last=_in_short(errors[-1]) if errors else "", locked=locked, lost=lost)


def _read(log: Path, start: int) -> str:
    try:
        with log.open("rb") as content:
            content.seek(start, os.SEEK_SET if start >= 0 else os.SEEK_END)
            return content.read().decode(errors="replace")
    except OSError:
        return ""


def _records(text: str) -> list[str]:
    """The log split into records; text that is no record, such as the banner, is a part of its own."""
    starts = [0, *(match.start() for match in LINE.finditer(text))]
    return [text[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]


def _in_short(record: str) -> str:
    lines = [
        line
        for line in record.strip().splitlines()
        if line.strip() and not line.startswith("(Background on this error")
    ]
    return one_line(lines[0] if len(lines) == 1 else f"{one_line(lines[0], 160)} … {lines[-1]}", 400)

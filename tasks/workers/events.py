"""Progress and log events of a stage, and the JSON lines in which a worker process reports them.

tasks/workers/launcher.py turns the lines back into events.
"""

import json
import sys
from typing import Any, Protocol

EVENT_PREFIX = "@dialogsum "
"""Starts a line of a worker's standard output that holds an event; every other line is a log line."""


class Events(Protocol):
    """Receives progress and log lines: a terminal, a Prefect run, or nothing."""

    def progress(self, completed: int, total: int, note: str = "") -> None:
        """`completed` of `total` units are finished."""

    def log(self, line: str) -> None:
        """Report one line of text."""

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Report measurements after an optimizer step, by column of artifacts.schemas.CURVE.

        A step may be reported several times, with other columns or, in a resumed training, once more.
        """


class NullListener:
    """Ignores every event."""

    def stage(self, label: str, status: str, reason: str, artifact: str) -> None: ...
    def finished(self, entry: object) -> None: ...

    def progress(self, completed: int, total: int, note: str = "") -> None: ...
    def log(self, line: str) -> None: ...
    def metrics(self, step: int, values: dict[str, float]) -> None: ...


class JsonLinesEvents:
    """The worker's events as JSON lines on standard output."""

    def progress(self, completed: int, total: int, note: str = "") -> None:
        emit("progress", completed=completed, total=total, note=note)

    def log(self, line: str) -> None:
        emit("log", line=line)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        emit("metrics", step=step, values=values)


def emit(event: str, **fields: Any) -> None:
    """Write one event. It is a single write, so lines of other threads cannot end up inside of it."""
    sys.stdout.write(f"\n{EVENT_PREFIX}{json.dumps({'event': event} | fields)}\n")
    sys.stdout.flush()

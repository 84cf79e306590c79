"""What a stage says while it works: progress and log lines, told to whoever listens.

A worker process says the same in JSON lines on standard output (tasks/workers/launcher.py turns them back).
"""

import json
import sys
from typing import Any, Protocol

MARK = "@dialogsum "


class Events(Protocol):
    """Listener: a terminal, a Prefect run, or nobody."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total` units are finished."""

    def log(self, line: str) -> None:
        """One line for people."""


class Listener(Events, Protocol):
    """Hears of stages as well."""

    def stage(self, label: str, status: str, reason: str) -> None:
        """A stage is about to run, or to be reused."""

    def finished(self, entry: dict[str, Any]) -> None:
        """It has; `entry` is its line in the JSON of `run`."""


class Silent:
    """Listens to nothing."""

    def stage(self, label: str, status: str, reason: str) -> None: ...
    def finished(self, entry: dict[str, Any]) -> None: ...

    def progress(self, done: int, total: int, note: str = "") -> None: ...
    def log(self, line: str) -> None: ...


class Spoken:
    """The worker's side: events as JSON lines on standard output."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        say("progress", done=done, total=total, note=note)

    def log(self, line: str) -> None:
        say("log", line=line)


def say(event: str, **fields: Any) -> None:
    """Write one event; other threads' lines cannot come between, since it is one write."""
    sys.stdout.write(f"\n{MARK}{json.dumps({'event': event} | fields)}\n")
    sys.stdout.flush()

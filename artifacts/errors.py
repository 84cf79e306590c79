"""The two ways in which work ends badly, and the exit code of each.

    Exception
    ├── RequestError   exit 2: what was asked cannot be done; nothing was lost, nothing started that needs cleaning
    └── StageError     exit 1: a stage began and failed

A message is one line: what was got, what was expected, what to do.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class RequestError(Exception):
    """The request was wrong (exit 2)."""

    exit_code = 2


class StageError(Exception):
    """A stage failed while working (exit 1)."""

    exit_code = 1


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest known name, or the list of them all."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(names)}"


def one_line(text: object, limit: int = 400) -> str:
    """`text` on one line, control characters removed, at most `limit` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"

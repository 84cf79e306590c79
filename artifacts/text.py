"""Helpers for messages: a text on one line, and the closest known name."""

from collections.abc import Iterable
from difflib import get_close_matches


def one_line(text: object, limit: int = 400) -> str:
    """`text` on one line, control characters removed, at most `limit` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest known name, or `; known: …` with all of them."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(names)}"

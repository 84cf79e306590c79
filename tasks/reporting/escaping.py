"""Dialogues, summaries, topics and names come from outside: here they become text that stays text."""

import difflib
import re

from markupsafe import Markup, escape


def visible(text: str) -> str:
    """Control characters (NUL, escape codes, direction overrides) as their Unicode pictures or code points."""
    return "".join(
        c
        if c in "\n\t" or c.isprintable() or c == "\u200d"
        else chr(0x2400 + ord(c))
        if ord(c) < 32
        else f"⟨U+{ord(c):04X}⟩"
        for c in text
    )


ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def plain(text: str) -> str:
    """Text that Markdown, and HTML inside Markdown, leave as it is, on one line.

    Backslashes where they will do: one of Prefect's two UIs shows numeric entities as they stand.
    """
    line = " ".join(visible(text).split())
    return re.sub(r"[<>&]|[\\`*_{}\[\]()#+\-.!|~:/@$^=\"']", lambda m: ENTITIES.get(m[0]) or f"\\{m[0]}", line)


MOST_WORDS = 400
"""Longer texts are not compared: the comparison takes the square of their length."""


def marked(text: str, other: str) -> Markup:
    """Escaped text in which the words that `other` has not, in their order, are in <mark>."""
    words, theirs = re.findall(r"\s+|\S+", visible(text)), re.findall(r"\s+|\S+", visible(other))
    if len(words) > MOST_WORDS or len(theirs) > MOST_WORDS:
        return escape(visible(text))
    parts = []
    for what, start, end, _, _ in difflib.SequenceMatcher(None, words, theirs, autojunk=False).get_opcodes():
        piece = escape("".join(words[start:end]))
        parts.append(piece if what == "equal" or not piece.strip() else Markup("<mark>{}</mark>").format(piece))
    return Markup("").join(parts)

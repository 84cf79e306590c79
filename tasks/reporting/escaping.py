"""Escaping of untrusted text (dialogues, summaries, topics, names) for Markdown, HTML and the terminal."""

import re
import unicodedata

ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def visible(text: str) -> str:
    """Show control characters (NUL, escape codes, direction overrides) as Unicode pictures or code points.

    Spaces of all widths and the two joiners, which Persian and Indic words need, stay as they are.
    """
    return "".join(
        c
        if c in "\n\t\u200c\u200d" or c.isprintable() or unicodedata.category(c) == "Zs"
        else chr(0x2400 + ord(c))
        if ord(c) < 32
        else f"⟨U+{ord(c):04X}⟩"
        for c in text
    )


def escape_markdown(text: str) -> str:
    """Text on one line that Markdown, and HTML inside Markdown, show unchanged.

    Backslashes are used where possible, because one of Prefect's two UIs shows numeric entities literally.
    """
    line = " ".join(visible(text).split())
    return re.sub(r"[<>&]|[\\`*_{}\[\]()#+\-.!|~:/@$^=\"']", lambda m: ENTITIES.get(m[0]) or f"\\{m[0]}", line)

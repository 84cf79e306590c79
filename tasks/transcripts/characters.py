"""Characters that files of other programs contain: line ends, invisible marks, letters that were decoded wrongly."""

import re
import unicodedata

INVISIBLE_CLASS = "\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
INVISIBLE = re.compile(f"[{INVISIBLE_CLASS}]+")
"""Soft hyphens, direction marks, isolates, byte order marks; not the joiners that some scripts need."""
_LINE_END = re.compile("\r\n?|\u2028|\u2029|\x85|\v|\f")
_WINDOWS = {bytes([byte]).decode("cp1252"): byte for byte in range(0x80, 0xA0) if byte not in {129, 141, 143, 144, 157}}
"""Characters beyond Latin-1 that Windows-1252 has -> their byte."""


def with_line_feeds(text: str) -> str:
    """The text with one kind of line end, without a byte order mark."""
    return _LINE_END.sub("\n", text).lstrip("\ufeff")


def visible_line(line: str) -> str:
    """A line without invisible characters and without white space at its ends."""
    return INVISIBLE.sub("", line).strip()


def visible_lines(text: str) -> list[str]:
    """The lines that have visible characters."""
    return [line for line in map(visible_line, text.split("\n")) if line]


def one_spelling(name: str) -> str:
    """A name in the one spelling by which equal names are equal: composed letters, single spaces, nothing invisible."""
    return " ".join(unicodedata.normalize("NFC", INVISIBLE.sub("", name)).split())


def decoded_again(text: str) -> str | None:
    """`SchÃ¶n` -> `Schön`: UTF-8 that was read as Latin-1 or Windows-1252. None if the text is not that."""
    try:
        raw = bytes(_WINDOWS.get(character, ord(character)) for character in text)
        return raw.decode("utf-8")
    except (ValueError, UnicodeDecodeError):
        return None

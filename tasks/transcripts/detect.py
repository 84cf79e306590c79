"""Which format a transcript has, with the reason."""

import re
from typing import Any

from tasks.transcripts.characters import with_line_feeds
from tasks.transcripts.chat_exports import read_json_chat
from tasks.transcripts.formats import FORMATS, STRUCTURED
from tasks.transcripts.json_values import parse_json
from tasks.transcripts.message_markup import is_html, without_html
from tasks.transcripts.records import LossKind, Reading, Turn
from tasks.transcripts.turn_headings import read_turn_headings
from tasks.transcripts.turn_lines import read_turn_lines

PLAIN = "plain"
"""Text in which nobody is named: it stays as it is."""
TAGGED = "tagged"
"""Text with the tags that the model was trained on: it stays as it is."""
HEADINGS = "headings"
_TAGGED_TURN = re.compile(r"^#Person\d+#:", re.MULTILINE)


def detect(value: Any, format: str | None = None) -> tuple[str, Reading]:
    """Name of the format of a text or a JSON value, and its turns.

    format: the format that the user names. No turns if the value cannot be read in it.
    """
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        value = "\n".join(value)
    if not isinstance(value, str):
        reading = _read_json(value, format)
        return (
            (reading.format or "json-chat", reading) if reading else (PLAIN, Reading([], "neither a text nor messages"))
        )
    text = value.replace("\r\n", "\n").strip().strip("\ufeff")
    if format is not None:
        return _read_as(text, format)
    if _TAGGED_TURN.search(text):
        return TAGGED, Reading([Turn(None, text)], "lines begin with #Person1#: and the like")
    name, reading = _detect_text(with_line_feeds(text))
    breaks = text.count("\\n")
    if name == PLAIN and breaks and "\n" not in text:
        other, unescaped = _detect_text(text.replace("\\r", "").replace("\\n", "\n"))
        if other != PLAIN:
            unescaped.losses[LossKind.UNESCAPED] += breaks
            return other, unescaped
    if name == PLAIN and is_html(text):
        other, unmarked = _detect_text(without_html(text))
        if other != PLAIN:
            return other, unmarked
    return (name, reading) if name != PLAIN else (PLAIN, Reading([Turn(None, text)], reading.reason))


def _detect_text(text: str) -> tuple[str, Reading]:
    parsed = parse_json(text)
    if parsed is not None and (reading := _read_json(parsed, None)) is not None:
        return reading.format or "json-chat", reading
    for structured in STRUCTURED:
        reading = structured.read(text)
        if reading is not None and reading.certain:
            return reading.format or structured.name, reading
    lines, headings = read_turn_lines(text), read_turn_headings(text)
    if headings is not None and headings.certain and (not lines or headings.matches >= lines.matches):
        return HEADINGS, headings
    if lines is not None and lines.certain:
        return lines.format or "colon", lines
    return PLAIN, Reading([], "no line begins with a speaker in a form that comes back")


def _read_json(value: Any, program: str | None) -> Reading | None:
    try:
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            return None
        return read_json_chat(value, program)
    except RecursionError:
        return None


def _read_as(text: str, format: str) -> tuple[str, Reading]:
    """The reading of a named format, however few lines fit."""
    if format in (PLAIN, TAGGED):
        return format, Reading([Turn(None, text)], "named by --format")
    form = next(form for form in FORMATS if form.name == format)
    value = parse_json(text) if form.is_json else with_line_feeds(text)
    reading = form.read(value) if value is not None else None
    if reading is not None:
        reading.reason = f"named by --format; {reading.reason}"
    return format, reading or Reading([], f"named by --format, but nothing in the input is {format}")

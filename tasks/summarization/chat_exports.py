"""Subtitles (WebVTT, SRT) and chats exported as JSON, parsed into turns."""

import html
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

Turn = tuple[str | None, str]
"""Speaker (None if unknown) and text."""
_TIMING = re.compile(r"^(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}\s+-->\s+(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}.*$")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_MARKUP = re.compile(r"</?[a-zA-Z][^>]*>|<[\d:.]+>|\{\\[^}]*\}")
MESSAGE_LIST_KEYS = ("messages", "conversation", "conversations", "turns", "utterances", "dialogue", "dialog")
"""Where an export has its messages, unless it is a list itself."""
SPEAKER_KEYS = (
    "speaker",
    "from",
    "sender_name",
    "sender",
    "author",
    "user_profile",
    "user",
    "username",
    "name",
    "role",
)
TEXT_KEYS = ("text", "content", "message", "body", "utterance", "value")
NAME_KEYS = ("real_name", "display_name", "nickname", "name", "username", "id")
"""Of a speaker that is an object."""
TIME_KEYS = ("timestamp_ms", "ts", "timestamp", "date", "created_at", "time")


def parse_subtitles(text: str) -> list[Turn] | None:
    """The cues of WebVTT or SRT, without the repeated lines of rolling captions; None if the text is neither."""
    if not any(_TIMING.match(line.strip()) for line in text.split("\n")):
        return None
    cues: list[Turn] = []
    for block in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in block.split("\n")]
        timing = next((number for number, line in enumerate(lines) if _TIMING.match(line)), None)
        for line in lines[timing + 1 :] if timing is not None else []:
            turns = list(_voices(line))
            cues += [turn for turn in turns if turn[1] and turn[1] != (cues[-1][1] if cues else None)]
    return cues


def _voices(line: str) -> Iterable[Turn]:
    """`<v Ann>Hi.</v> <v Bob>Hello.` -> one turn per voice; text before the first has no speaker."""
    leading, *rest = _VOICE.split(line)
    yield None, _without_markup(leading)
    for speaker, words in zip(rest[::2], rest[1::2], strict=True):
        yield html.unescape(speaker.strip()), _without_markup(words)


def _without_markup(text: str) -> str:
    return html.unescape(_MARKUP.sub("", text)).strip()


def parse_json_chat(value: Any) -> list[Turn] | None:
    """Messages of a chat export (JSON text or the parsed value), oldest first; None if it is not one."""
    if isinstance(value, str):
        if value[:1] not in ("[", "{"):
            return None
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, dict):
        value = next((value[key] for key in MESSAGE_LIST_KEYS if isinstance(value.get(key), list)), None)
    if not isinstance(value, list) or not all(isinstance(message, dict | None) for message in value):
        return None
    chat = [message for message in value if message and _first_value(message, TEXT_KEYS) is not None]
    for key in TIME_KEYS:
        times = [_timestamp(message.get(key)) for message in chat]
        known = [time for time in times if time is not None]
        if len(known) == len(times) > 1:
            if known[0] > known[-1]:
                chat.reverse()
            break
    return [(_speaker(message), _text(_first_value(message, TEXT_KEYS))) for message in chat]


def _timestamp(value: Any) -> float | None:
    """A number, or the seconds of an ISO 8601 time; None for a time such as `9:59 PM`, which has no order by itself."""
    with suppress(ValueError, TypeError, OverflowError, AttributeError):
        return float(value)
    with suppress(ValueError, TypeError, OverflowError):
        return datetime.fromisoformat(value).timestamp()
    return None


def _first_value(message: dict[str, Any], keys: Iterable[str]) -> Any:
    return next((message[key] for key in keys if message.get(key) not in (None, "", [])), None)


def _speaker(message: dict[str, Any]) -> str | None:
    for key in SPEAKER_KEYS:
        speaker = message.get(key)
        name = _first_value(speaker, NAME_KEYS) if isinstance(speaker, dict) else speaker
        if isinstance(name, str | int) and str(name).strip():
            return " ".join(str(name).split())
    return None


def _text(content: Any) -> str:
    """A string, or the joined texts of a list or an object."""
    if isinstance(content, list):
        return " ".join(filter(None, map(_text, content)))
    if isinstance(content, dict):
        return _text(_first_value(content, TEXT_KEYS) or "")
    return content if isinstance(content, str) else ""

"""What programs write of a conversation: subtitles (WebVTT, SRT) and chats as JSON, into turns."""

import html
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from typing import Any

Turn = tuple[str | None, str]
"""Who speaks, None if nobody says, and what."""
_TIMING = re.compile(r"^(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}\s+-->\s+(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}.*$")
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_MARKUP = re.compile(r"</?[a-zA-Z][^>]*>|<[\d:.]+>|\{\\[^}]*\}")
LISTS = ("messages", "conversation", "conversations", "turns", "utterances", "dialogue", "dialog")
"""Where an export keeps its messages, if it is not the list itself."""
SPEAKERS = ("speaker", "from", "sender_name", "sender", "author", "user_profile", "user", "username", "name", "role")
TEXTS = ("text", "content", "message", "body", "utterance", "value")
NAMES = ("real_name", "display_name", "nickname", "name", "username", "id")
"""Of a speaker who is an object."""
TIMES = ("timestamp_ms", "ts", "timestamp", "date", "created_at", "time")


def cues(text: str) -> list[Turn] | None:
    """The cues of WebVTT or SRT, repeated lines of rolling captions once; None if the text is neither."""
    if not any(_TIMING.match(line.strip()) for line in text.split("\n")):
        return None
    found: list[Turn] = []
    for block in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in block.split("\n")]
        timing = next((number for number, line in enumerate(lines) if _TIMING.match(line)), None)
        for line in lines[timing + 1 :] if timing is not None else []:
            turns = list(_voices(line))
            found += [turn for turn in turns if turn[1] and turn[1] != (found[-1][1] if found else None)]
    return found


def _voices(line: str) -> Iterable[Turn]:
    """`<v Ann>Hi.</v> <v Bob>Hello.` -> a turn each; what stands before the first belongs to nobody."""
    before, *rest = _VOICE.split(line)
    yield None, _bare(before)
    for speaker, said in zip(rest[::2], rest[1::2], strict=True):
        yield html.unescape(speaker.strip()), _bare(said)


def _bare(text: str) -> str:
    return html.unescape(_MARKUP.sub("", text)).strip()


def messages(value: Any) -> list[Turn] | None:
    """Messages of a chat export (JSON text, or what it holds), oldest first; None if it is none."""
    if isinstance(value, str):
        if value[:1] not in ("[", "{"):
            return None
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if isinstance(value, dict):
        value = next((value[key] for key in LISTS if isinstance(value.get(key), list)), None)
    if not isinstance(value, list) or not all(isinstance(message, dict | None) for message in value):
        return None
    chat = [message for message in value if message and _first(message, TEXTS) is not None]
    for key in TIMES:
        times = [_moment(message.get(key)) for message in chat]
        known = [time for time in times if time is not None]
        if len(known) == len(times) > 1:
            if known[0] > known[-1]:
                chat.reverse()
            break
    return [(_speaker(message), _text(_first(message, TEXTS))) for message in chat]


def _moment(value: Any) -> float | None:
    """Seconds since whenever, of a number or an ISO 8601 time; None of `9:59 PM`, which has no order as it stands."""
    with suppress(ValueError, TypeError, OverflowError, AttributeError):
        return float(value)
    with suppress(ValueError, TypeError, OverflowError):
        return datetime.fromisoformat(value).timestamp()
    return None


def _first(message: dict[str, Any], keys: Iterable[str]) -> Any:
    return next((message[key] for key in keys if message.get(key) not in (None, "", [])), None)


def _speaker(message: dict[str, Any]) -> str | None:
    for key in SPEAKERS:
        who = message.get(key)
        who = _first(who, NAMES) if isinstance(who, dict) else who
        if isinstance(who, str | int) and str(who).strip():
            return " ".join(str(who).split())
    return None


def _text(content: Any) -> str:
    """A string, or pieces of one: strings and objects that have a text."""
    if isinstance(content, list):
        return " ".join(filter(None, map(_text, content)))
    if isinstance(content, dict):
        return _text(_first(content, TEXTS) or "")
    return content if isinstance(content, str) else ""

"""Where a JSON value has its messages, and what their keys mean, whatever their capitals and underscores."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Any

Message = dict[str, Any]
"""A message with its keys as `simple_key` spells them."""
LISTS = (
    "messages", "chatmessages", "conversation", "conversations", "turns", "utterances", "audiosegments", "segments",
    "dialogue", "dialog", "sentences", "monologues", "paragraphs", "transcript", "transcription", "transcripts",
    "recognizedphrases", "conversationparts", "comments", "history", "entries", "chunks", "phrases", "value", "list",
    "items", "data", "records", "chats", "results", "channels", "alternatives", "log", "posts", "lines", "cues",
)  # fmt: skip
"""Keys of lists of messages, the likeliest first."""
TEXTS = (
    "text", "content", "message", "body", "utterance", "value", "transcript", "sentence", "msg", "rawtext", "caption",
    "html", "plaintext", "words", "alternatives", "nbest", "display", "elements", "sentences", "parts", "line",
)  # fmt: skip
"""Keys of what is said."""
TIMES = (
    "timestampms", "ts", "dateunixtime", "timestamp", "date", "createdat", "createddatetime", "createtime",
    "createddate", "sentat", "datesent", "datetime", "created", "time", "starttime", "start", "begin",
)  # fmt: skip
EXTRAS = ("attachments", "embeds", "blocks", "files", "photos", "videos", "media", "sticker", "photo", "file")
"""Keys of a message that may have no text."""
MAX_DEPTH = 8
_HOLDERS = ("messages", "chatmessages", "conversationparts", "paragraphs")
"""Keys of an object that has messages rather than being one."""
_NO_MESSAGES = frozenset({"words", "tokens", "participants", "members", "users", "reactions", "attachments", "embeds"})


@lru_cache(maxsize=4096)
def simple_key(key: str) -> str:
    """`Speaker_Name` and `speakerName` -> `speakername`."""
    return re.sub(r"[\W_]", "", key).lower()


def simple(value: Mapping[str, Any]) -> Message:
    """An object whose keys are simple; of two keys that become equal, the first stays."""
    message: Message = {}
    for key, content in value.items():
        message.setdefault(simple_key(str(key)), content)
    return message


def first_value(message: Message, keys: Iterable[str]) -> Any:
    """The first value that is there."""
    return next((message[key] for key in keys if message.get(key) not in (None, "", [], {})), None)


def parse_json(text: str) -> Any:
    """The value of JSON or of JSON Lines; None if the text is neither."""
    if text[:1] not in ("[", "{"):
        return None
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    with suppress(ValueError, RecursionError):
        lines = [json.loads(line) for line in text.split("\n") if line.strip()]
        return lines if all(isinstance(line, dict) for line in lines) else None
    return None


def conversations(value: Any, depth: int = 0) -> list[list[Message]]:
    """The lists of messages of a value, each a conversation; empty if it has none."""
    if depth > MAX_DEPTH:
        return []
    if isinstance(value, list):
        objects = [simple(item) for item in value if isinstance(item, dict)]
        if not objects or len(objects) < len([item for item in value if item is not None]):
            return []
        if any(map(is_message, objects)):
            return [objects]
        return [talk for item in objects for talk in conversations(item, depth + 1)]
    if not isinstance(value, dict):
        return []
    keys = simple(value)
    for key in LISTS:
        nested = conversations(keys[key], depth + 1) if key in keys else []
        if nested:
            return nested
    rest = (content for key, content in keys.items() if key not in _NO_MESSAGES and isinstance(content, dict | list))
    return next(filter(None, (conversations(content, depth + 1) for content in rest)), [])


def is_message(item: Message) -> bool:
    """Whether an object has a text of its own, rather than messages."""
    if any(isinstance(item.get(key), list | dict) for key in _HOLDERS):
        return False
    text = first_value(item, TEXTS)
    if isinstance(text, list):
        nested = any(isinstance(part, dict) and set(map(simple_key, part)) & {"speaker", "sender"} for part in text)
        return not nested and not any(
            isinstance(part, dict) and "transcript" in part and "words" in part for part in text
        )
    return text is not None and not (isinstance(text, dict) and conversations(text, MAX_DEPTH))


def pairs_of(value: Any) -> Iterator[Message]:
    """Messages of `[[speaker, text], …]` and of `{speaker: […], text: […]}`; none if the value is neither."""
    if isinstance(value, list) and value and all(isinstance(item, list | tuple) and len(item) == 2 for item in value):
        if all(isinstance(part, str) for item in value for part in item):
            yield from ({"speaker": speaker, "text": text} for speaker, text in value)
    elif isinstance(value, dict) and len(value) > 1 and all(isinstance(column, list) for column in value.values()):
        columns = simple(value)
        if len({len(column) for column in columns.values()}) == 1 and first_value(columns, TEXTS):
            yield from (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))


def timestamp(value: Any) -> float | None:
    """A number, or the seconds of an ISO 8601 time; None for a time such as `9:59 PM`, which has no order by itself."""
    if isinstance(value, bool):
        return None
    with suppress(ValueError, TypeError, OverflowError, AttributeError):
        number = float(value)
        return number if number == number else None
    with suppress(ValueError, TypeError, OverflowError):
        return datetime.fromisoformat(value).timestamp()
    return None

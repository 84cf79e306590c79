"""Chats and transcripts exported as JSON, by any program: who says what, oldest first."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from tasks.transcripts.assistant_exports import is_tree, shown_messages
from tasks.transcripts.characters import decoded_again
from tasks.transcripts.chat_messages import extra_texts, has_media, not_said, said_in
from tasks.transcripts.json_values import TIMES, Message, conversations, first_value, pairs_of, simple, timestamp
from tasks.transcripts.message_markup import without_discord_markup, without_slack_markup
from tasks.transcripts.message_speakers import names_by_id, speaker_of
from tasks.transcripts.records import LossKind, Reading, Turn


class Export(NamedTuple):
    """How the messages of one program are told from others'."""

    name: str
    keys: frozenset[str]
    """All of them are in most of its messages."""


EXPORTS = (
    Export("telegram", frozenset({"fromid", "text"})),
    Export("messenger", frozenset({"sendername", "timestampms"})),
    Export("discord", frozenset({"author", "timestamp", "content"})),
    Export("teams", frozenset({"createddatetime", "body"})),
    Export("google-chat", frozenset({"creator", "createddate"})),
    Export("claude", frozenset({"sender", "text", "uuid"})),
    Export("slack", frozenset({"ts", "text"})),
    Export("whisper-json", frozenset({"start", "end", "text"})),
)


def read_json_chat(value: Any, program: str | None = None) -> Reading | None:
    """The turns of a parsed JSON value; None if it has no messages.

    program: whose markup the messages have; told by their keys if None.
    """
    reading = Reading([], "")
    value = _decoded(value, reading.losses)
    trees = (
        [value] if is_tree(value) else value if isinstance(value, list) and value and all(map(is_tree, value)) else []
    )
    if trees:
        program, talks = "chatgpt", []
        for tree in trees:
            shown, hidden = shown_messages(tree)
            talks.append(shown)
            reading.losses[hidden.kind] += hidden.count
    else:
        talks = [list(pairs_of(value))] if any(True for _ in pairs_of(value)) else conversations(value)
        talks = talks or ([[]] if _empty_list(value) else [])
    if not talks:
        return None
    if not trees and isinstance(value, dict) and isinstance(first := simple(value).get("source"), dict):
        talks[0].insert(0, simple(first))  # Intercom: the message that opened the conversation
    messages = [message for talk in talks for message in talk]
    reading.losses[LossKind.CONCATENATED] += len(talks) - 1
    reading.format = program or _program(messages)
    names = names_by_id(value, messages)
    for talk in talks:
        for message in _in_order(talk, reading):
            _add_message(reading, message, names)
    reading.matches = len(reading.turns)
    reading.reason = f"JSON with {len(messages)} messages" + _keys_of(reading.format)
    return reading


def _empty_list(value: Any) -> bool:
    """Whether a value has a list of messages in which nobody says anything."""
    if isinstance(value, dict):
        return any(
            isinstance(simple(value).get(key), list) for key in ("messages", "conversation", "turns", "utterances")
        )
    return isinstance(value, list) and all(isinstance(item, dict | None) for item in value)


def _program(messages: Sequence[Message]) -> str:
    for export in EXPORTS:
        if sum(export.keys <= message.keys() for message in messages) * 2 > len(messages):
            return export.name
    return "json-chat"


def _keys_of(name: str) -> str:
    keys = next((sorted(export.keys) for export in EXPORTS if export.name == name), [])
    return f" that have {', '.join(keys[:-1])} and {keys[-1]}" if keys else ""


def _in_order(talk: list[Message], reading: Reading) -> list[Message]:
    """Messages in the order of their times, if all have one."""
    for key in TIMES:
        times = [timestamp(message.get(key)) for message in talk]
        known = [time for time in times if time is not None]
        if len(known) == len(times) > 1:
            falls = sum(later < earlier for earlier, later in pairwise(known))
            rises = sum(later > earlier for earlier, later in pairwise(known))
            numbered = list(zip(known, talk, strict=True))
            latest = float("-inf")
            for time in known[::-1] if falls > rises else known:
                reading.losses[LossKind.REORDERED] += time < latest
                latest = max(latest, time)
            reading.losses[LossKind.REORDERED] += falls > rises and len(talk)
            return [
                message
                for _, message in sorted(numbered[::-1] if falls > rises else numbered, key=lambda pair: pair[0])
            ]
    return talk


def _add_message(reading: Reading, message: Message, names: dict[str, str]) -> None:
    losses = reading.losses
    if (kind := not_said(message)) is not None:
        losses[kind] += 1
        return
    reactions = message.get("reactions")
    losses[LossKind.REACTION] += len(reactions) if isinstance(reactions, list) else 0
    text = _text(reading, message, names)
    if not text.strip():
        losses[LossKind.MEDIA if has_media(message) else LossKind.EMPTY] += 1
        return
    moment = first_value(message, TIMES)
    reading.turns.append(Turn(speaker_of(message, names), text, None if moment is None else str(moment)))


def _text(reading: Reading, message: Message, names: dict[str, str]) -> str:
    """The words of a message; of bots and of messages without words, those of attachments, embeds and blocks too."""
    text = said_in(message)
    extras = [message.get(key) for key in ("attachments", "embeds", "blocks")]
    bot = message.get("subtype") == "bot_message" or "botid" in message or "botprofile" in message
    bot = bot or (isinstance(message.get("author"), dict) and message["author"].get("isBot") is True)
    if not text.strip() or bot:
        further = [words for words in extra_texts(extras) if words not in text]
        text = "\n".join(filter(None, [text, *further]))
    elif any(
        isinstance(part, dict) and part.keys() & {"from_url", "title_link", "url"}
        for part in (message.get("embeds") or message.get("attachments") or [])
        if "fileSizeBytes" not in part
    ):
        reading.losses[LossKind.PREVIEW] += 1
    elif has_media(message) and not message.get("blocks"):
        reading.losses[LossKind.MEDIA] += 1
    if reading.format == "slack":
        return without_slack_markup(text, names)
    return without_discord_markup(text, names) if reading.format == "discord" else text


def _decoded(value: Any, losses: Counter[LossKind]) -> Any:
    """The value with letters that were decoded as Latin-1 decoded again, as Messenger needs; all or none."""
    texts = [text for text in _strings(value) if not text.isascii()]
    decoded = {text: decoded_again(text) for text in texts}
    if not texts or not all(decoded.values()):
        return value
    losses[LossKind.DECODED] += len(texts)
    return _replaced(value, {text: again for text, again in decoded.items() if again})


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def _replaced(value: Any, texts: dict[str, str]) -> Any:
    if isinstance(value, str):
        return texts.get(value, value)
    if isinstance(value, list):
        return [_replaced(item, texts) for item in value]
    return {key: _replaced(item, texts) for key, item in value.items()} if isinstance(value, dict) else value

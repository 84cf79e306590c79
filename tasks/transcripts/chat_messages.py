"""One message of a chat export: what it says, and whether a person wrote it at all."""

import re
from typing import Any

from tasks.transcripts.json_values import EXTRAS, TEXTS, Message, first_value, simple
from tasks.transcripts.message_markup import is_html, without_html
from tasks.transcripts.records import LossKind

_SPOKEN_SUBTYPES = frozenset(
    [
        "bot_message",
        "me_message",
        "thread_broadcast",
        "file_share",
        "file_comment",
        "file_mention",
        "reply_broadcast",
        "ekm_access_denied",
        "assistant_app_thread",
        "message_replied",
    ]
)
_SYSTEM_TYPES = frozenset(
    [
        "service",
        "system",
        "event",
        "notification",
        "systemeventmessage",
        "subscribe",
        "unsubscribe",
        "call",
        "join",
        "joined",
        "leave",
        "left",
        "status",
        "chat.memberjoin",
        "chat.memberleave",
        "chat.rating",
        "chat.queue_position",
        "e2e_notification",
        "group-v2-change",
        "call-history",
        "keychange",
        "profile-change",
        "timer-notification",
        "verified-change",
        "channel_join",
        "channel_leave",
        "chatevent",
    ]
)
_DISCORD_SYSTEM = re.compile(
    r"(?:GuildMember|Recipient|Channel|Call$|UserPremium|Thread(?!Starter)|Guild|Stage|AutoModeration|Poll).*"
)
_TALK_PARTS = frozenset(
    {"comment", "note", "quick_reply", "open", "note_and_reopen", "fin_guidance", "participant_added"}
)
_MEDIA_KEYS = (*EXTRAS, "audiofiles", "gifs", "share", "mediatype", "voicemessages", "location", "attachedfiles")
_REACTED = re.compile(
    r"(?:Reacted .{1,12} to your message|Liked a message|Hat mit .{1,12} auf deine Nachricht reagiert)\W*"
)


def not_said(message: Message) -> LossKind | None:
    """Why a message is nobody's words; None if it may be somebody's."""
    kind, subtype = message.get("type"), message.get("subtype")
    if first_value(message, ("isunsent", "deleteddatetime", "isdeleted")) is True or message.get("deleteddatetime"):
        return LossKind.DELETED
    if isinstance(subtype, str) and subtype and subtype not in _SPOKEN_SUBTYPES:
        return LossKind.DELETED if subtype in ("tombstone", "message_deleted") else LossKind.SYSTEM
    if isinstance(kind, str) and (kind.lower() in _SYSTEM_TYPES or _DISCORD_SYSTEM.fullmatch(kind)):
        return LossKind.SYSTEM
    if isinstance(message.get("messagetype"), str) and message["messagetype"].lower() not in (
        "message",
        "text",
        "chat",
    ):
        return LossKind.SYSTEM
    if isinstance(message.get("parttype"), str) and message["parttype"] not in _TALK_PARTS:
        return None if first_value(message, TEXTS) else LossKind.SYSTEM
    text = first_value(message, TEXTS)
    return LossKind.REACTION if isinstance(text, str) and _REACTED.fullmatch(text.strip()) else None


def text_of(content: Any) -> str:
    """A string, a number, or the joined texts of a list or an object."""
    if isinstance(content, list):
        return _joined(content)
    if isinstance(content, dict):
        keys = simple(content)
        if "html" in str(keys.get("contenttype", "")).lower():
            return without_html(text_of(first_value(keys, TEXTS) or ""))
        for key in ("alternatives", "nbest"):
            if isinstance(keys.get(key), list) and keys[key]:
                return text_of(keys[key][0])
        return text_of(first_value(keys, TEXTS))
    if isinstance(content, str):
        return without_html(content) if is_html(content) else content
    return str(content) if isinstance(content, int | float) and not isinstance(content, bool) else ""


def _joined(parts: list[Any]) -> str:
    """Texts with a space between them; the elements of Rev.ai and Telegram bring their own spaces."""
    own_spaces = any(isinstance(p, dict) and p.get("type") == "punct" for p in parts) or any(
        isinstance(p, str) and p != p.strip() for p in parts
    )
    return ("" if own_spaces else " ").join(filter(None, map(text_of, parts)))


def said_in(message: Message) -> str:
    """The text of a message; of recognizers, the first alternative."""
    for key in ("alternatives", "nbest"):
        if isinstance(message.get(key), list) and message[key] and not first_value(message, TEXTS[:8]):
            return text_of(message[key][0])
    return text_of(first_value(message, TEXTS))


def extra_texts(value: Any) -> list[str]:
    """The words of attachments, embeds and blocks, in order and once each."""
    texts: list[str] = []

    def collect(part: Any, depth: int = 0) -> None:
        if isinstance(part, list):
            for item in part:
                collect(item, depth + 1)
        elif isinstance(part, dict) and depth < 12:
            keys = simple(part)
            for key in ("pretext", "authorname", "title", "text", "description", "name", "value", "fallback", "footer"):
                content = keys.get(key)
                if isinstance(content, str) and content.strip() and not any(content in other for other in texts):
                    if key != "fallback" or not texts:
                        texts.append(content.strip())
                elif isinstance(content, dict | list):
                    collect(content, depth + 1)
            for key in ("elements", "fields", "blocks", "attachments", "message"):
                collect(keys.get(key), depth + 1)

    collect(value)
    return texts


def has_media(message: Message) -> bool:
    """Whether a message shows a file, a picture, a place."""
    return first_value(message, _MEDIA_KEYS) is not None

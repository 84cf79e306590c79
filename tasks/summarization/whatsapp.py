"""Chats exported from WhatsApp, parsed into turns, without system messages and media placeholders.

    [12.03.24, 18:05:40] Lena: See you at eight.     from an iPhone
    12/03/2024, 18:05 - Lena: See you at eight.      from an Android phone

The app adds system messages (encryption, joins, missed calls) and placeholders for media. Android writes the former
without a sender. An iPhone writes both under the name of a person or of the group, with U+200E before them.
"""

import re
from dataclasses import dataclass

from tasks.summarization.chat_exports import Turn
from tasks.summarization.whatsapp_languages import LANGUAGES

_INVISIBLE_CLASS = "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
INVISIBLE = re.compile(f"[{_INVISIBLE_CLASS}]+")
"""Invisible characters: direction marks, isolates, byte order marks."""
APP_MARK = "\u200e"
"""A line that begins with it was written by the app."""
_DATE = rf"[{_INVISIBLE_CLASS}]*".join([r"\d{1,4}", "[./-]", r"\s?", r"\d{1,2}", "[./-]", r"\s?", r"\d{1,4}", r"\.?"])
_TIME = r"\d{1,2}[:.]\d{2}(?:[:.]\d{2})?"
_AM_PM = r"(?:[^\W\d_][^\d\[\]:-]{0,12}?)?"
"""AM or PM in any language, before or after the time."""
_DAY_TIME = rf"{_AM_PM}\s*{_TIME}\s*{_AM_PM}"
_HEAD = re.compile(
    rf"[\s{_INVISIBLE_CLASS}]*(?:\[{_DATE}[,،]?\s*{_DAY_TIME}\]\s*|{_DATE}[,،]?\s+{_DAY_TIME}(?:\s[-–]\s+|,\s+))"
)
_SENDER = re.compile(r"(?P<name>[^:\n]{1,100}?)\s?:(?:\s+(?P<text>.*)|\s*$)")
_QUOTES = (('"', '"'), ("“", "”"), ("„", "“"), ("«", "»"))


def _any(field: str) -> str:
    return "|".join(f"(?:{getattr(language, field)})" for language in LANGUAGES)


_MEDIA = re.compile(
    rf"(?:.{{1,200}}\.\w{{2,5}}\b.{{0,30}}\s)?(?:{_any('omitted')})|<\s?(?:{_any('media')}|{_any('omitted')})\s?>"
    rf"|<(?:{_any('tag')})\s?:\s.{{1,200}}>|.{{1,200}}\((?:{_any('attached')})\)"
    r"|[^:]{3,30}:\s?https://maps\.google\.\S+",
    re.IGNORECASE,
)
_NOTICE = re.compile(rf"(?:{_any('notices')})\.?", re.IGNORECASE)
_EDITED = re.compile(rf"\s*<(?:{_any('edited')})>$", re.IGNORECASE)


@dataclass(frozen=True)
class Chat:
    """The turns of a chat, and how many lines of the app were left out."""

    turns: list[Turn]
    system: int
    media: int


def parse_whatsapp(text: str) -> Chat | None:
    """The chat; None if fewer than two messages, or fewer than half of them, have date, time and sender."""
    preamble: list[str] = []
    messages: list[list[str]] = []
    for line in filter(str.strip, text.split("\n")):
        if head := _HEAD.match(line):
            messages.append([line[head.end() :]])
        else:
            (messages[-1] if messages else preamble).append(line)
    senders = [_sender(lines[0]) for lines in messages]
    if sum(sender is not None for sender in senders) < max(2, len(messages) / 2):
        return None
    turns: list[Turn] = [(None, " ".join(preamble))] if preamble else []
    system = media = 0
    for sender, (_, *rest) in zip(senders, messages, strict=True):
        if sender is None:  # the lines that follow are part of it, such as the description of a group
            system += 1
            continue
        name, first = sender
        words, left_out = _words([first, *rest])
        system, media = system + left_out.count("system"), media + left_out.count("media")
        turns.append((name, words))
    return Chat(turns, system, media)


def _sender(line: str) -> tuple[str, str] | None:
    """Sender and text of a message's first line; None for a system message, which may quote a name with a colon."""
    match = _SENDER.match(line)
    if match is None:
        return None
    name = INVISIBLE.sub("", match["name"]).strip().removeprefix("~").strip()  # ~: not a contact
    balanced = all(name.count(opening) == name.count(closing) for opening, closing in _QUOTES if opening != closing)
    return (name, match["text"] or "") if name and balanced and name.count('"') % 2 == 0 else None


def _words(lines: list[str]) -> tuple[str, list[str]]:
    """The words of a person in a message, and the kind (`system` or `media`) of each part that was left out."""
    words: list[str] = []
    left_out: list[str] = []
    for number, line in enumerate(line.strip() for line in lines):
        bare = INVISIBLE.sub("", line).strip()
        if number == 0 and _NOTICE.fullmatch(bare):
            return "", ["system"]
        caption, mark, rest = line.rpartition(APP_MARK)
        if line.startswith(APP_MARK) and not bare.startswith("@"):
            left_out.append("media" if _MEDIA.fullmatch(bare) else "system")
        elif mark and _MEDIA.fullmatch(INVISIBLE.sub("", rest).strip()):
            words.append(caption)
            left_out.append("media")
        elif number == 0 and _MEDIA.fullmatch(bare):
            left_out.append("media")
        else:
            words.append(bare)
    return _EDITED.sub("", INVISIBLE.sub("", " ".join(words)).strip()), left_out

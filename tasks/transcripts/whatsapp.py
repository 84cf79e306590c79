"""Chats exported from WhatsApp, parsed into turns, without system messages and media placeholders.

    [12.03.24, 18:05:40] Lena: See you at eight.     from an iPhone
    12/03/2024, 18:05 - Lena: See you at eight.      from an Android phone

The app adds system messages (encryption, joins, missed calls) and placeholders for media. Android writes the former
without a sender. An iPhone writes both under the name of a person or of the group, with U+200E before them.
"""

import re

from tasks.transcripts.characters import INVISIBLE, INVISIBLE_CLASS, one_spelling
from tasks.transcripts.records import LossKind, Reading, Turn
from tasks.transcripts.whatsapp_languages import DELETED, LANGUAGES

APP_MARK = "\u200e"
"""A line that begins with it was written by the app."""
_MARKS = rf"[{INVISIBLE_CLASS}]*"
_NUMERIC = _MARKS.join([r"\d{1,4}", "[./-]", r"\s?", r"\d{1,2}", "[./-]", r"\s?", r"\d{1,4}", r"\.?(?:\s?г\.)?"])
_MONTH = r"[^\W\d_][^\d\[\]:/-]{2,18}"
_DATE = (
    rf"(?:{_NUMERIC}|\d{{4}}\s?[年년]\s?\d{{1,2}}\s?[月월]\s?\d{{1,2}}\s?[日일]"
    rf"|\d{{1,2}}\.?\s{_MONTH}\s\d{{4}}|{_MONTH}\s\d{{1,2}},\s\d{{4}})"
)
_TIME = r"\d{1,2}[:.]\d{2}(?:[:.]\d{2})?"
_AM_PM = r"(?:[^\W\d_][^\d\[\]:-]{0,12}?)?"
"""AM or PM in any language, before or after the time."""
_DAY_TIME = rf"{_AM_PM}\s*{_TIME}\s*{_AM_PM}"
_MOMENT = rf"(?:{_DATE}[,،]?{_MARKS}\s*{_DAY_TIME}|{_DAY_TIME}[,،]?{_MARKS}\s+{_DATE})"
_HEAD = re.compile(rf"[\s{INVISIBLE_CLASS}]*(?:\[(?P<iphone>{_MOMENT})\]\s*|(?P<android>{_MOMENT})(?:\s[-–—]\s+|,\s+))")
_END_OF_HEAD = re.compile(r"[^\n]{0,45}?\d[^\n]{0,12}?(?:\]|\s[-–—]|,)\s*(?P<name>[^:\n]{1,60}?)\s?:(?:\s|$)")
_SENDER = re.compile(r"(?P<name>[^:\n]{1,100}?)\s?:(?:\s+(?P<text>.*)|\s*$)")
_QUOTES = (('"', '"'), ("“", "”"), ("„", "“"), ("«", "»"))


def _any(field: str) -> str:
    return "|".join(f"(?:{getattr(language, field)})" for language in LANGUAGES)


_MEDIA = re.compile(
    rf"(?:.{{1,200}}\.\w{{2,5}}\b.{{0,30}}\s)?(?:{_any('omitted')})|<\s?(?:{_any('media')}|{_any('omitted')})\s?>"
    rf"|<(?:{_any('tag')})\s?:\s.{{1,200}}>|.{{1,200}}\((?:{_any('attached')})\)"
    r"|[^:]{3,30}:\s?https://maps\.google\.\S+"
    r"|<[^\W\d_a-z][^<>\s]*(?:\s[^<>\s]+){1,3}>|<[\u0900-\u0fff\u3040-\ud7af][^<>]{3,20}>",
    re.IGNORECASE,
)
_NOTICE = re.compile(rf"(?:{_any('notices')})\.?", re.IGNORECASE)
_DELETED = re.compile(rf"(?:{DELETED})\.?", re.IGNORECASE)
_EDITED = re.compile(rf"\s*<(?:{_any('edited')})>$", re.IGNORECASE)


def read_whatsapp(text: str) -> Reading | None:
    """The chat; None if no line has date, time and sender."""
    preamble: list[str] = []
    messages: list[tuple[str, list[str]]] = []
    for line in filter(str.strip, text.split("\n")):
        if head := _HEAD.match(line):
            messages.append((head["iphone"] or head["android"], [line[head.end() :]]))
        else:
            (messages[-1][1] if messages else preamble).append(line)
    senders = [_sender(lines[0]) for _, lines in messages]
    named = [sender for sender in senders if sender is not None]
    if not named:
        return None
    reading = Reading([], f"{len(named)} of {len(messages)} messages begin with a date, a time and a sender")
    reading.matches = len(messages)
    reading.certain = len(named) >= max(2, len(messages) / 2)
    reading.turns += [Turn(None, " ".join(map(_bare, preamble)))] if preamble else []
    names = {name for name, _ in named}
    for sender, (time, (_, *rest)) in zip(senders, messages, strict=True):
        if sender is None:  # the lines that follow are part of it, such as the description of a group
            reading.losses[LossKind.SYSTEM] += 1
        else:
            _add_message(reading, sender[0], [sender[1], *rest], time, names)
    return reading


def _add_message(reading: Reading, name: str, lines: list[str], time: str, names: set[str]) -> None:
    """The words of a message; from a line on that looks like another message, whose beginning is broken, nobody's."""
    broken = next((n for n, line in enumerate(lines) if n and _is_broken(_bare(line), names)), len(lines))
    words, left_out = _words(lines[:broken])
    reading.losses.update(left_out)
    if words:
        reading.turns.append(Turn(name, words, time))
    elif not left_out:
        reading.losses[LossKind.EMPTY] += 1
    for line in lines[broken:]:
        reading.losses[LossKind.UNATTRIBUTED] += 1
        reading.turns.append(Turn(None, _bare(line)))


def _is_broken(line: str, names: set[str]) -> bool:
    """Whether a line has the end of a message's head with a known sender, such as `1?.12.24, 18:05] Ann: Hi.`"""
    match = _END_OF_HEAD.match(line)
    return match is not None and one_spelling(match["name"]) in names


def _bare(line: str) -> str:
    return INVISIBLE.sub("", line).strip()


def _sender(line: str) -> tuple[str, str] | None:
    """Sender and text of a message's first line; None for a system message, which may quote a name with a colon."""
    match = _SENDER.match(line)
    if match is None:
        return None
    name = one_spelling(one_spelling(match["name"]).removeprefix("~"))  # ~: not a contact
    balanced = all(name.count(opening) == name.count(closing) for opening, closing in _QUOTES if opening != closing)
    return (name, match["text"] or "") if name and balanced and name.count('"') % 2 == 0 else None


def _words(lines: list[str]) -> tuple[str, list[LossKind]]:
    """The words of a person in a message, and the kind of each part that was left out."""
    words: list[str] = []
    left_out: list[LossKind] = []
    for number, line in enumerate(line.strip() for line in lines):
        bare = _bare(line)
        if number == 0 and _DELETED.fullmatch(bare):
            return "", [LossKind.DELETED]
        if number == 0 and _NOTICE.fullmatch(bare):
            return "", [LossKind.SYSTEM]
        caption, mark, rest = line.rpartition(APP_MARK)
        if line.startswith(APP_MARK) and not bare.startswith("@"):
            left_out.append(LossKind.MEDIA if _MEDIA.fullmatch(bare) else LossKind.SYSTEM)
        elif mark and _MEDIA.fullmatch(_bare(rest)):
            words.append(caption)
            left_out.append(LossKind.MEDIA)
        elif number == 0 and _MEDIA.fullmatch(bare):
            left_out.append(LossKind.MEDIA)
        else:
            words.append(bare)
    return _EDITED.sub("", _bare(" ".join(words))), left_out

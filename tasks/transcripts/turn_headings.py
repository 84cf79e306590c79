"""Transcripts with a line of name and time above the words: Otter, Rev, Teams, Zoom, Discord, iMessage."""

import re
from collections import Counter
from typing import NamedTuple

from tasks.transcripts.characters import one_spelling, visible_line
from tasks.transcripts.program_lines import program_line
from tasks.transcripts.records import LossKind, Reading, Turn
from tasks.transcripts.speaker_names import is_name, may_be_name
from tasks.transcripts.timestamps import STAMP

_NAME = r"(?P<name>[^:：\n]{1,60}?)"
_TIME = rf"(?P<time>{STAMP})"
_HEADINGS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"\[(?P<name>[^\[\]:\n]{{1,60}})\]\s+{_TIME}",
        rf"{_NAME}\s*[:：](?:\s+|(?=[\[(])){_TIME}\s*:?",
        rf"{_NAME},?\s*(?:[-–—|•·]\s*|\s)\(?{_TIME}\)?(?:\s\({STAMP}\))?\s*:?",
        rf"{_TIME}\s*(?:[-–—|•·]\s*)?{_NAME}\s*:?",
    )
)
_ONLY_TIME = re.compile(rf"{_TIME}(?:\s\((?:Read|Delivered|Edited|Lu|Gelesen)\b[^()]*\))?")
_STATE = re.compile(r"\s\((?:pinned|edited)\)$")
_BOLD = re.compile(r"\*\*|__|^#{1,6}\s+")
_BOLD_NAME = re.compile(r"\*\*([^*:\n]{1,60})\*\*")
NO_TIME = (-3, False)
"""Shape of a heading that is only a name in bold, as Google Meet writes it."""
_ATTACHED = re.compile(
    r"\{(Attachments|Embed|Stickers|Reactions)\}|(Tapbacks|Reactions|Attachments?):|\[(Edited|bearbeitet)\]"
)
_BEFORE_FIRST = re.compile(r"(?:Guild|Channel|Topic|After|Before|Exported|Server|Kanal):?\s.*")
_URL = re.compile(r"https?://\S+|(?:/|~/|[A-Z]:\\)\S+\.\w{2,5}|\S+\.(?:jpe?g|png|gif|heic|pdf|mov|mp4|m4a|ogg)", re.I)


class _Heading(NamedTuple):
    line: int
    """Its number; the words begin `size` lines below."""
    size: int
    name: str
    time: str | None
    shape: tuple[int, bool]
    """Which of the forms it has, and whether its time is in brackets: all headings of a file have one shape."""


def read_turn_headings(text: str) -> Reading | None:
    """The turns; None if there is no line of name and time."""
    lines = [visible_line(line) for line in text.split("\n")]
    headings = _headings(lines)
    if not headings:
        return None
    ((shape, _),) = Counter(heading.shape for heading in headings).most_common(1)
    headings = [heading for heading in headings if heading.shape == shape]
    spaced = [heading for heading in headings if not heading.line or not lines[heading.line - 1]]
    headings = spaced if 2 * len(spaced) > len(headings) else headings  # words below a heading may resemble one
    names = Counter(heading.name for heading in headings)
    headings = [h for h in headings if names[h.name] > 1 or is_name(h.name)]
    spoken = [line for line in lines if line and program_line(line) is None]
    ends = [*(heading.line for heading in headings[1:]), len(lines)][: len(headings)]
    bodies = [lines[heading.line + heading.size : end] for heading, end in zip(headings, ends, strict=True)]
    follows = sum(map(any, bodies))
    reading = Reading(
        [],
        f"{len(headings)} lines have a name{'' if shape == NO_TIME else ' and a time'}, with the words below",
        matches=len(headings),
    )
    reading.certain = (
        follows > 1
        and (shape != NO_TIME or max(names.values()) > 1)
        and follows * 2 > len(headings)
        and len(spoken) <= 12 * len(headings)
    )
    for line in filter(None, lines[: headings[0].line] if headings else lines):
        if program_line(line) or _BEFORE_FIRST.fullmatch(line):
            reading.losses[LossKind.PROGRAM] += 1
        else:
            reading.turns.append(Turn(None, line))
    for heading, body in zip(headings, bodies, strict=True):
        _add_turn(reading, heading, body)
    return reading


def _headings(lines: list[str]) -> list[_Heading]:
    """Headings of one line, of a time above a name, and of a name above a time."""
    headings: list[_Heading] = []
    number = 0
    while number < len(lines):
        heading = _heading(lines, number)
        if heading is not None:
            headings.append(heading)
        number += heading.size if heading else 1
    return headings


def _heading(lines: list[str], number: int) -> _Heading | None:
    line = _BOLD.sub("", lines[number]).strip()
    line_above = lines[number - 1] if number else ""
    line_below = _BOLD.sub("", lines[number + 1]).strip() if number + 1 < len(lines) else ""
    if not line:
        return None
    begins_block = not line_above and bool(line_below)
    if begins_block and ":" not in line_below and (match := _ONLY_TIME.fullmatch(line)) and may_be_name(line_below):
        below = lines[number + 2] if number + 2 < len(lines) else ""
        return _Heading(number, 2, one_spelling(line_below), match["time"], (-1, False)) if below else None
    if begins_block and ":" not in line and (match := _ONLY_TIME.fullmatch(line_below)) and is_name(line):
        return _Heading(number, 2, one_spelling(line), match["time"], (-2, False))
    if (match := _BOLD_NAME.fullmatch(lines[number])) and may_be_name(match[1]):
        return _Heading(number, 1, one_spelling(match[1]), None, NO_TIME)
    for form, pattern in enumerate(_HEADINGS):
        if (match := pattern.fullmatch(line)) and may_be_name(match["name"]):
            shape = form, match["time"][0] in "[("
            return _Heading(number, 1, one_spelling(_STATE.sub("", match["name"])), match["time"], shape)
    return None


def _add_turn(reading: Reading, heading: _Heading, body: list[str]) -> None:
    """The words below a heading, without what a program adds there: attachments, reactions, its own name."""
    words: list[str] = []
    attached: LossKind | None = None
    for line in body:
        if not line:
            continue
        if match := _ATTACHED.fullmatch(line):
            kind = match[0].strip("{}:")
            attached = LossKind.REACTION if kind in ("Reactions", "Tapbacks") else LossKind.MEDIA
        elif attached is LossKind.REACTION or (attached is LossKind.MEDIA and _URL.fullmatch(line)):
            reading.losses[attached] += 1
        elif (added := program_line(line)) is not None:
            reading.losses[added] += 1
        else:
            words.append(line)
    if words:
        reading.turns.append(Turn(heading.name, " ".join(words), heading.time))
    elif attached is None:
        reading.losses[LossKind.EMPTY] += 1

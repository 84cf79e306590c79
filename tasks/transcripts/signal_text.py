"""Texts that sigtop writes from Signal: a head of `From:`, `Type:` and `Sent:` above each message."""

import re

from tasks.transcripts.characters import one_spelling, visible_line
from tasks.transcripts.records import LossKind, Reading, Turn

_HEAD = re.compile(r"(From|To|Type|Sent|Received|Edited|Attachment|Reaction|Version|Quote): ?(.*)")
_NUMBER = re.compile(r"\s\(\+[\d ]+\)$")


def read_signal(text: str) -> Reading | None:
    """The turns; None if no line says from whom a message is, with its type below."""
    lines = [visible_line(line) for line in text.split("\n")]
    starts = [n for n, line in enumerate(lines[:-1]) if line.startswith("From: ") and _HEAD.match(lines[n + 1])]
    if not starts:
        return None
    reading = Reading([], f"{len(starts)} messages have a head that begins with From", matches=len(starts))
    reading.certain = len(starts) > 1 and sum(line.startswith("Sent: ") for line in lines) * 2 >= len(starts)
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        _add_message(reading, lines[start:end])
    return reading


def _add_message(reading: Reading, lines: list[str]) -> None:
    size = next((n for n, line in enumerate(lines) if not _HEAD.match(line)), len(lines))
    head = [match.groups() for line in lines[:size] if (match := _HEAD.match(line))]
    reading.losses[LossKind.MEDIA] += sum(key == "Attachment" for key, _ in head)
    reading.losses[LossKind.REACTION] += sum(key == "Reaction" for key, _ in head)
    words = [line for line in lines[size:] if line]
    time = next((value for key, value in head if key == "Sent"), None)
    name = one_spelling(_NUMBER.sub("", head[0][1]))
    if words:
        reading.turns.append(Turn(name, " ".join(words), time))
    elif not any(key in ("Attachment", "Reaction") for key, _ in head):
        reading.losses[LossKind.EMPTY] += 1

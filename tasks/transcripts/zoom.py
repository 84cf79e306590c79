"""Chats that Zoom saves: `10:00:01 From Ann to Everyone:` with the words behind or below."""

import re

from tasks.transcripts.characters import one_spelling, visible_lines
from tasks.transcripts.records import LossKind, Reading, Turn
from tasks.transcripts.timestamps import STAMP

_FROM = r"(?:From|Von|De|Da|Van|Från|Fra|Od|От|发件人|來自|보낸 사람)"
_TO = r"(?:to|an|à|a|para|per|naar|till|til|do|кому|发送给|至)"
_HEAD = re.compile(rf"(?P<time>{STAMP})\s+{_FROM}\s+(?P<name>.{{1,80}}?)\s*:(?:\s+(?P<text>.*)|$)", re.IGNORECASE)
_RECIPIENT = re.compile(rf"(?P<name>.+?)\s+{_TO}\s+\S.*", re.IGNORECASE)
_REACTION = re.compile(r"(?:Reacted to .* with .*|Removed (?:a )?.* reaction from .*|Reagierte auf .*)", re.IGNORECASE)
_QUOTE = re.compile(r"Replying to [\"“].*[\"”]:?")


def read_zoom_chat(text: str) -> Reading | None:
    """The turns; None if no line says from whom it is."""
    lines = visible_lines(text)
    reading = Reading([], "")
    for line in lines:
        if head := _HEAD.match(line):
            recipient = _RECIPIENT.fullmatch(head["name"])
            name = one_spelling((recipient or head)["name"])
            reading.turns.append(Turn(name, "", head["time"]))
            reading.matches += 1
            line = head["text"] or ""
        if not reading.turns:
            reading.turns.append(Turn(None, line))
        elif _REACTION.fullmatch(line):
            reading.losses[LossKind.REACTION] += 1
            if not reading.turns[-1].text:
                reading.turns.pop()
        elif _QUOTE.fullmatch(line):
            reading.losses[LossKind.PREVIEW] += 1
        else:
            reading.turns[-1] = reading.turns[-1]._replace(text=f"{reading.turns[-1].text} {line}".strip())
    if not reading.matches:
        return None
    reading.reason = f"{reading.matches} of {len(lines)} lines begin with a time and from whom the message is"
    reading.certain = reading.matches > 1
    return reading

"""Lines that a program adds to a transcript: who joined, where the file comes from, when it was recorded."""

import re

from tasks.transcripts.records import LossKind
from tasks.transcripts.timestamps import STAMP

_STAMPED = rf"(?:{STAMP}\s*[-–—:]?\s*)?"
_CAME_OR_WENT = (
    r"(?:has\s|have\s)?(?:joined|left|entered|quit|disconnected|reconnected|rejoined)"
    r"(?:\s(?:the\s)?(?:chat|meeting|channel|room|conversation|call|server|group|conference|session|webinar)\b.{0,40})?"
)
_SYSTEM = re.compile(
    rf"{_STAMPED}(?:\*{{3}}\s.{{1,200}}|-!-\s.{{1,200}}|(?:-->|<--|→|←)\s.{{1,200}}|\*\s(?:Joins|Parts|Quits):.*"
    rf"|\*\s\S+\s(?:\(\S+\)\s)?has\s(?:joined|left|quit)\b.*)"
    rf"|{STAMP}\s*[-–—:]?\s*[^:]{{1,80}}?\s{_CAME_OR_WENT}\.?"
    r"|[^:.]{1,60}\s(?:started|stopped|ended)\s(?:the\s)?(?:transcription|recording)\.?"
    r"|[^:.]{1,60}\s(?:has\s|have\s)?(?:joined|left|entered)\sthe\s"
    r"(?:chat|meeting|channel|room|conversation|call|server|group|session)\.?",
    re.IGNORECASE,
)
_PROGRAM = re.compile(
    r"(?:transcribed|transcript(?:ion)?s?|captions?|subtitles?|generated|recorded|powered|provided)\s"
    r"(?:(?:was|is|were)\s)?"
    r"(?:(?:auto\w*|created|generated|provided|made|edited|exported)\s)?(?:by|with|from|using)\s.{1,80}"
    rf"|(?:transcription|meeting|recording|call|chat)\s(?:has\s)?"
    rf"(?:ended|started|stopped|began)\s?(?:after|at|on)?\s?(?:{STAMP})?\W*"
    r"|this\s(?:editable\s)?transcript\s(?:was|is|has)\s.{0,200}"
    r"|people\scan\salso\schange\sthe\stext\safter\sit\swas\screated\W*"
    rf"|page\s\d+(?:\sof\s\d+)?|-+\s?\d+\s?-+|exported\s\d+\smessages?.*|[=_*~-]{{4,}}"
    r"|(?:duration|length|laufzeit|durée)\s?:\s?[\d:hms ]+"
    r"|={3,}.*={3,}",
    re.IGNORECASE,
)


def program_line(line: str) -> LossKind | None:
    """What a program says in a line; None if people may have said it."""
    if _SYSTEM.fullmatch(line):
        return LossKind.SYSTEM
    return LossKind.PROGRAM if _PROGRAM.fullmatch(line) else None

"""Transcripts and chats of many formats -> the format that the model was trained on; restores names in its summary.

    [00:01] Bob - We are late.          #Person1#: We are late.
    [00:04] Ann - The train was.   ->   #Person2#: The train was.

Input forms: `#Person1#:`, `Alice:`, `[00:01] Bob -`, `12/31/24, 9:15 PM - Bob:`, `<bob>`, `**Bob:**`, `[Bob]`, a line
with name and time above the text; WebVTT, SRT and chats as JSON (chat_exports.py); chats of WhatsApp (whatsapp.py).
Text without speakers stays unchanged, and so does a transcript with `#Person1#:` tags.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from tasks.summarization.chat_exports import Turn, parse_json_chat, parse_subtitles
from tasks.summarization.whatsapp import INVISIBLE, parse_whatsapp

_DATE = r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d{1,3})?(?:\s?[AaPp]\.?[Mm]\.?)?+"
TIMESTAMP = rf"[\[(]?(?:{_DATE},?\s+)?{_CLOCK}[\])]?+"
"""Time, with or without a date, in brackets or not."""
_NAME = r"[^\W\d_][\w.'’&-]*(?: [\w.'’&()-]+){0,3}"
"""One to four words: `Bob`, `Speaker 1`, `Dr. Ann O'Neil`."""
_ANY_NAME = r"[^:<>\[\]\n]{1,60}?"
"""Anything in the place of a name, such as a telephone number."""
TURN_FORMS = [
    re.compile(pattern)
    for pattern in (
        rf"{TIMESTAMP}\s*+(?:[-–—]\s*)?+<?(?P<name>{_ANY_NAME})(?:\s*[:>]|\s[-–—])(?:\s+(?P<text>.*)|$)",
        rf"(?P<name>{_NAME}),?\s+{TIMESTAMP}\s*(?::(?:\s+(?P<text>.*)|$)|$)",
        r"<(?P<name>[^<>\n]{1,60})>\s+(?P<text>.*)",
        r"(?:[-*•]\s+)?\*\*(?P<name>[^*:\n]{1,60})(?::\*\*|\*\*\s*:)\s*(?P<text>.*)",
        rf"\[(?P<name>{_NAME})\]\s*:?(?:\s+(?P<text>.*)|$)",
        rf"(?:[-*•]\s+)?(?P<name>{_NAME})\s*:(?:\s+(?P<text>.*)|$)",
    )
]
"""How a turn begins; a transcript uses one of these forms."""
NOT_NAMES = frozenset(
    {"agenda", "attendees", "date", "duration", "edit", "host", "location", "nb", "note", "notes", "participants"}
    | {"place", "present", "ps", "re", "subject", "summary", "time", "title", "topic", "update", "warning"}
)
"""Words before a colon in meeting notes that are not speakers."""
_TAGGED_TURN = re.compile(r"^#Person\d+#:", re.MULTILINE)
_TAG = re.compile(r"#Person(\d+)#")
_MAX_LINES_PER_TURN = 3
"""A form is used if the turns have at most so many lines on average, or if a speaker has several turns: a single
`Note: …` is not a speaker."""


@dataclass(frozen=True)
class Conversation:
    """A dialogue in the form that the model was trained on."""

    text: str
    """One turn per line, `#PersonN#: …`; empty if there is no text."""
    names: tuple[str, ...] = ()
    """Names of `#Person1#`, `#Person2#`, …; empty if the input had these tags already."""
    system: int = 0
    """System messages of the chat program that were left out."""
    media: int = 0
    """Media placeholders that were left out."""

    @property
    def left_out(self) -> str:
        """`2 system messages and 1 media placeholder`, or nothing."""
        counts = ((self.system, "system message"), (self.media, "media placeholder"))
        return " and ".join(f"{count} {name}{'s' * (count > 1)}" for count, name in counts if count)

    def restore_names(self, summary: str) -> str:
        """The summary with names instead of tags. A tag that is no speaker's stays."""

        def name(tag: re.Match[str]) -> str:
            number = int(tag[1])
            return self.names[number - 1] if 1 <= number <= len(self.names) else tag[0]

        return _TAG.sub(name, summary)


def parse_conversation(value: Any) -> Conversation:
    """Convert a transcript in any of the forms above, or the messages of a chat. Never fails."""
    if not isinstance(value, str):
        return _with_tags(parse_json_chat(value) or [])
    text = value.replace("\r\n", "\n").strip().strip("\ufeff")
    if _TAGGED_TURN.search(text):
        return Conversation(text)
    if (messages := parse_json_chat(text)) is not None:
        return _with_tags(messages)
    if (cues := parse_subtitles(text)) is not None:
        if any(speaker for speaker, _ in cues):
            return _with_tags(_joined(cues))
        text = "\n".join(words for _, words in cues)
    if (chat := parse_whatsapp(text)) is not None:
        return replace(_with_tags(chat.turns), system=chat.system, media=chat.media)
    form = _turn_form(text)
    return _with_tags(_turns(text, form)) if form else Conversation(text)


def _turn_start(form: re.Pattern[str], line: str) -> re.Match[str] | None:
    """The match of a line that begins a turn."""
    match = form.match(line)
    return None if match and match["name"].strip().lower() in NOT_NAMES else match


def _visible_lines(text: str) -> list[str]:
    """Lines with visible characters, without the invisible ones."""
    return [line for line in (INVISIBLE.sub("", line).strip() for line in text.split("\n")) if line]


def _turn_form(text: str) -> re.Pattern[str] | None:
    """The form in which most lines begin a turn, if enough do."""
    lines = _visible_lines(text)
    best, best_names = None, Counter[str]()
    for form in TURN_FORMS:
        names = Counter(match["name"] for line in lines if (match := _turn_start(form, line)))
        if names.total() > best_names.total():
            best, best_names = form, names
    enough = len(lines) <= _MAX_LINES_PER_TURN * best_names.total() or max(best_names.values(), default=0) > 1
    return best if enough and best_names.total() > 1 else None


def _turns(text: str, form: re.Pattern[str]) -> list[Turn]:
    """Lines -> turns; a line without a speaker continues the previous turn."""
    turns: list[Turn] = []
    for line in _visible_lines(text):
        if match := _turn_start(form, line):
            turns.append((match["name"].strip(), match["text"] or ""))
        elif turns:
            speaker, words = turns[-1]
            turns[-1] = speaker, f"{words} {line}".strip()
        else:
            turns.append((None, line))
    return turns


def _joined(cues: list[Turn]) -> list[Turn]:
    """Consecutive cues of one speaker as one turn; a cue without speaker continues the previous one."""
    turns: list[Turn] = []
    for speaker, words in cues:
        if turns and speaker in (None, turns[-1][0]):
            turns[-1] = turns[-1][0], f"{turns[-1][1]} {words}"
        else:
            turns.append((speaker, words))
    return turns


def _with_tags(turns: list[Turn]) -> Conversation:
    """Number the speakers in the order in which they first speak; leave out empty turns."""
    numbers: dict[str, int] = {}
    lines = []
    for speaker, words in turns:
        text = " ".join(words.split())
        if not text:
            continue
        lines.append(f"#Person{numbers.setdefault(speaker, len(numbers) + 1)}#: {text}" if speaker else text)
    return Conversation("\n".join(lines), tuple(numbers))

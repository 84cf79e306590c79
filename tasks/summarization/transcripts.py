"""Conversations as people have them -> the one form that the model was trained on, and names back into its summary.

    [00:01] Bob - We are late.          #Person1#: We are late.
    [00:04] Ann - The train was.   ->   #Person2#: The train was.

What is read: chats that a phone exported from WhatsApp (tasks/summarization/whatsapp.py), `#Person1#:`, `Alice:`, `[00:01] Bob -`, `12/31/24, 9:15 PM - Bob:`, `<bob>`, `**Bob:**`, `[Bob]`, a line with
name and time above what was said; WebVTT and SRT; chat exports as JSON (tasks/summarization/chat_exports.py). Text without speakers stays as
it is, and so does a transcript that has `#Person1#:` already.
"""

import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from tasks.summarization.chat_exports import Turn, cues, messages
from tasks.summarization.whatsapp import MARKS, read_whatsapp

STAMP = r"[\[(]?(?:\d{1,4}[./-]\d{1,2}[./-]\d{1,4},?\s+)?\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d{1,3})?(?:\s?[AaPp]\.?[Mm]\.?)?+[\])]?+"
"""Time, with or without a date, in brackets or not."""
_NAME = r"[^\W\d_][\w.'’&-]*(?: [\w.'’&()-]+){0,3}"
"""One to four words: `Bob`, `Speaker 1`, `Dr. Ann O'Neil`."""
_ANY_NAME = r"[^:<>\[\]\n]{1,60}?"
"""What stands at a name's place, such as a telephone number."""
FORMS = [
    re.compile(pattern)
    for pattern in (
        rf"{STAMP}\s*+(?:[-–—]\s*)?+<?(?P<name>{_ANY_NAME})(?:\s*[:>]|\s[-–—])(?:\s+(?P<text>.*)|$)",
        rf"(?P<name>{_NAME}),?\s+{STAMP}\s*(?::(?:\s+(?P<text>.*)|$)|$)",
        r"<(?P<name>[^<>\n]{1,60})>\s+(?P<text>.*)",
        r"(?:[-*•]\s+)?\*\*(?P<name>[^*:\n]{1,60})(?::\*\*|\*\*\s*:)\s*(?P<text>.*)",
        rf"\[(?P<name>{_NAME})\]\s*:?(?:\s+(?P<text>.*)|$)",
        rf"(?:[-*•]\s+)?(?P<name>{_NAME})\s*:(?:\s+(?P<text>.*)|$)",
    )
]
"""How a turn begins, each in a form of its own; a transcript keeps to one of them."""
NO_NAMES = frozenset(
    ["agenda", "attendees", "date", "duration", "edit", "host", "location", "nb", "note", "notes", "participants", "place", "present", "ps", "re", "subject", "summary", "time", "title", "topic", "update", "warning"]
)  # fmt: skip
"""What stands before a colon in the notes of a meeting and is nobody."""
_READY = re.compile(r"^#Person\d+#:", re.MULTILINE)
_TAG = re.compile(r"#Person(\d+)#")
_OFTEN_ENOUGH = 3
"""One line in so many begins a turn, or else a name speaks twice: a single `Note: …` in a text is no speaker."""


@dataclass(frozen=True)
class Conversation:
    """A dialogue in the model's form."""

    text: str
    """One turn a line, `#PersonN#: …`; empty if nobody says anything."""
    names: tuple[str, ...] = ()
    """Who `#Person1#`, `#Person2#`, … are; empty where the tags were there already."""
    system: int = 0
    """Messages of the chat program that were left out."""
    media: int = 0
    """Placeholders of media that were left out."""

    @property
    def left_out(self) -> str:
        """`2 system messages and 1 media placeholder`, or nothing."""
        counted = ((self.system, "system message"), (self.media, "media placeholder"))
        return " and ".join(f"{count} {name}{'s' * (count > 1)}" for count, name in counted if count)

    def named(self, summary: str) -> str:
        """The summary with names for tags. A tag that nobody has stays."""

        def name(tag: re.Match[str]) -> str:
            number = int(tag[1])
            return self.names[number - 1] if 1 <= number <= len(self.names) else tag[0]

        return _TAG.sub(name, summary)


def read(value: Any) -> Conversation:
    """A transcript in any of the forms above, or the messages of a chat, -> the conversation. Never fails."""
    if not isinstance(value, str):
        return _numbered(messages(value) or [])
    text = value.replace("\r\n", "\n").strip().strip("\ufeff")
    if _READY.search(text):
        return Conversation(text)
    if (exported := messages(text)) is not None:
        return _numbered(exported)
    if (spoken := cues(text)) is not None:
        if any(speaker for speaker, _ in spoken):
            return _numbered(_joined(spoken))
        text = "\n".join(said for _, said in spoken)
    if (chat := read_whatsapp(text)) is not None:
        return replace(_numbered(chat.turns), system=chat.system, media=chat.media)
    return _numbered(_turns(text)) if _form(text) else Conversation(text)


def _begins(form: re.Pattern[str], line: str) -> re.Match[str] | None:
    """Who begins a turn with this line, if somebody does."""
    match = form.match(line)
    return None if match and match["name"].strip().lower() in NO_NAMES else match


def _lines(text: str) -> list[str]:
    """Those with anything to see on them, without what cannot be seen."""
    return [line for line in (MARKS.sub("", line).strip() for line in text.split("\n")) if line]


def _form(text: str) -> re.Pattern[str] | None:
    """The form that most lines have, if enough of them do."""
    lines = _lines(text)
    best, names = None, Counter[str]()
    for form in FORMS:
        found = Counter(match["name"] for line in lines if (match := _begins(form, line)))
        if found.total() > names.total():
            best, names = form, found
    enough = _OFTEN_ENOUGH * names.total() >= len(lines) or max(names.values(), default=0) > 1
    return best if enough and names.total() > 1 else None


def _turns(text: str) -> list[Turn]:
    """Lines -> turns; a line without speaker goes on with the turn before."""
    form, found = _form(text), list[Turn]()
    assert form is not None
    for line in _lines(text):
        if match := _begins(form, line):
            found.append((match["name"].strip(), match["text"] or ""))
        elif found:
            speaker, said = found[-1]
            found[-1] = speaker, f"{said} {line}".strip()
        else:
            found.append((None, line))
    return found


def _joined(turns: list[Turn]) -> list[Turn]:
    """Cues of one speaker, which end where the screen did, as one turn; nameless ones belong to who spoke last."""
    found: list[Turn] = []
    for speaker, said in turns:
        if found and speaker in (None, found[-1][0]):
            found[-1] = found[-1][0], f"{found[-1][1]} {said}"
        else:
            found.append((speaker, said))
    return found


def _numbered(turns: list[Turn]) -> Conversation:
    """Speakers by number, in the order in which they first speak; silent turns are left out."""
    names: dict[str, int] = {}
    lines = []
    for speaker, said in turns:
        said = " ".join(said.split())
        if not said:
            continue
        lines.append(f"#Person{names.setdefault(speaker, len(names) + 1)}#: {said}" if speaker else said)
    return Conversation("\n".join(lines), tuple(names))

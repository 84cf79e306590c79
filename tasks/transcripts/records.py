"""What a reader of transcripts returns: turns, what was lost on the way, and why it took the file for its format."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple


class Turn(NamedTuple):
    """What one speaker says without a break."""

    speaker: str | None
    """None if the file does not say who speaks."""
    text: str
    time: str | None = None
    """As the file writes it."""


class LossKind(Enum):
    """What may be lost between a file and its turns: one thing, several things, and what became of them."""

    SYSTEM = ("system message", "system messages", "left out")
    PROGRAM = ("line that the program adds", "lines that the program adds", "left out")
    MEDIA = ("media placeholder", "media placeholders", "left out")
    PREVIEW = ("preview of a link", "previews of links", "left out")
    REACTION = ("reaction", "reactions", "left out")
    DELETED = ("deleted message", "deleted messages", "left out")
    EMPTY = ("empty message", "empty messages", "left out")
    HIDDEN = ("message that the program does not show", "messages that the program does not show", "left out")
    REPEATED = ("repeated caption line", "repeated caption lines", "left out")
    COMMENT = ("comment or style block", "comment or style blocks", "left out")
    JOINED = ("line without a speaker", "lines without a speaker", "joined to the line before")
    UNATTRIBUTED = (
        "line that looks like a turn of nobody known",
        "lines that look like turns of nobody known",
        "kept without a speaker",
    )
    REORDERED = ("message", "messages", "moved into the order of their times")
    DECODED = ("text with wrongly decoded letters", "texts with wrongly decoded letters", "decoded again")
    CONCATENATED = ("further conversation of the file", "further conversations of the file", "appended to the first")
    UNESCAPED = ("written-out line break", "written-out line breaks", "read as line breaks")


@dataclass(frozen=True)
class Loss:
    """How often one kind of loss happened."""

    kind: LossKind
    count: int

    @property
    def sentence(self) -> str:
        """`3 system messages left out`."""
        one, several, became = self.kind.value
        return f"{self.count} {one if self.count == 1 else several} {became}"


@dataclass
class Reading:
    """One reader's understanding of a file."""

    turns: list[Turn]
    reason: str
    """Why the file has this format: `12 of 14 lines begin with a date, a time and a name`."""
    certain: bool = True
    """False if too little of the file fits: the format is then used only if the user names it."""
    matches: int = 0
    """Lines that begin a turn; the reader with the most matches is right where several are certain."""
    losses: Counter[LossKind] = field(default_factory=Counter)
    format: str | None = None
    """Name of the format, where one reader reads several."""


class Format(NamedTuple):
    """A form of transcripts that people have."""

    name: str
    """Value of `--format`."""
    title: str
    """Programs and files that have it."""
    example: str
    """A short file of this format, with the turns of EXAMPLE_TURNS in tests."""
    read: Callable[[Any], Reading | None]
    """From the text of a file (or the value of a JSON file) to its turns; None if it is something else."""
    is_json: bool = False

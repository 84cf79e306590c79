"""The corpus of transcripts, and what a transcript says against what a person reads in it."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from artifacts.record import Record
from tasks.transcripts.characters import INVISIBLE
from tasks.transcripts.conversation import Conversation
from tests.support.paths import ROOT

CORPUS = ROOT / "tests" / "corpus"
ANY = "*"
Said = tuple[str | None, str]
"""Speaker (None for nobody) and words."""


class Expectation(Record):
    """What a person reads in a file of the corpus: NAME.expected.json beside NAME.txt."""

    address: str
    """The public report, or the page of the format, that the file was made after."""
    about: str
    turns: tuple[Said, ...]
    """Who says what. A speaker `*1` is some name of its own; words `re:…` are a pattern."""
    optional: tuple[Said, ...] = ()
    """Turns that may stand among them or not; `*` for any words."""
    alias: dict[str, str] = Field(default_factory=dict)
    """Another name of a speaker that is as good."""
    losses: dict[str, int] | None = None
    """Names of LossKind with counts; not compared if missing."""


def corpus() -> list[Path]:
    """Every file of the corpus, without the expectations."""
    files = (file for file in CORPUS.rglob("*") if file.is_file())
    return sorted(file for file in files if not file.name.endswith(".expected.json"))


def expectation(file: Path) -> Expectation:
    return Expectation.model_validate_json(file.with_suffix(".expected.json").read_bytes())


def said(conversation: Conversation) -> list[Said]:
    """The turns of a conversation; of text that stays unchanged, its lines."""
    if conversation.turns:
        return [(turn.speaker, turn.text) for turn in conversation.turns]
    tagged = (re.fullmatch(r"(#Person\d+#):\s*(.*)", line) for line in conversation.text.split("\n"))
    lines = zip(tagged, conversation.text.split("\n"), strict=True)
    return [(match[1], match[2]) if match else (None, line) for match, line in lines if line.strip()]


def difference(expected: Expectation, found: Iterable[Said]) -> str | None:
    """What differs in the first turn that does; None if nothing does."""
    turns = [(_name(speaker, expected), clean(words)) for speaker, words in found]
    kept = [turn for turn in turns if not any(_fits(optional, turn, expected, {}) for optional in expected.optional)]
    wanted = _joined([(_name(speaker, expected), words) for speaker, words in expected.turns])
    if _first_difference(wanted, _joined(kept), expected) is None:
        return None
    return _first_difference(wanted, _joined(turns), expected)


def _first_difference(wanted: list[Said], found: list[Said], expected: Expectation) -> str | None:
    speakers: dict[str, str] = {}
    for want, got in zip(wanted, found, strict=False):
        if not _fits(want, got, expected, speakers):
            return f"{got} instead of {want}"
    return None if len(wanted) == len(found) else f"{len(found)} turns instead of {len(wanted)}: {found}"


def _fits(want: Said, got: Said, expected: Expectation, speakers: dict[str, str]) -> bool:
    (speaker, words), (who, said) = want, got
    if speaker is not None and speaker.startswith(ANY) and len(speaker) > 1:
        named = {name for name, _ in expected.turns}
        right = who is not None and who not in named and speakers.setdefault(speaker, who) == who
        right = right and list(speakers.values()).count(str(who)) == 1
    else:
        right = speaker in (ANY, who)
    pattern = words.removeprefix("re:")
    return right and (
        words == ANY
        or (re.fullmatch(pattern, said, re.DOTALL) is not None if pattern != words else clean(words) == said)
    )


def _joined(turns: list[Said]) -> list[Said]:
    """Turns of one speaker after another as one."""
    joined: list[Said] = []
    for speaker, words in turns:
        if joined and joined[-1][0] == speaker:
            joined[-1] = speaker, f"{joined[-1][1]} {words}".strip()
        else:
            joined.append((speaker, words))
    return joined


def clean(text: str) -> str:
    """Single spaces, nothing invisible."""
    return " ".join(INVISIBLE.sub("", text).split())


def _name(speaker: str | None, expected: Expectation) -> str | None:
    if speaker is None:
        return None
    name = unicodedata.normalize("NFC", clean(speaker))
    return expected.alias.get(name, name)

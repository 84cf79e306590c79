"""Transcripts whose turns begin on a line with a name and words: `Ann: Hi.`, `[00:01] Ann - Hi.`, `<ann> Hi.`

A transcript uses one form throughout: the one in which most lines begin a turn.
"""

import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from tasks.transcripts.characters import one_spelling, visible_lines
from tasks.transcripts.program_lines import program_line
from tasks.transcripts.records import LossKind, Reading, Turn
from tasks.transcripts.speaker_names import is_label, speakers
from tasks.transcripts.timestamps import STAMP

MAX_LINES_PER_TURN = 3
"""A form is used if the turns have at most so many lines on average, or if a speaker has several turns: a single
`Note: …` is not a speaker."""
MAX_LISTED_WORDS = 3
"""Words of the longest entry of a list, before its colon, that is not taken for a speaker."""
COLON = "[:：﹕︰]"
_NAME = r"(?P<name>[^:：﹕︰\n]{1,60}?)"
_WORDS = r"(?:\s+(?P<text>.*)|$)"
_AFTER_COLON = rf"(?:\s*(?:{COLON}\s+|[：﹕︰](?=\S)|{COLON}$)|:(?=[^\W\d_])(?!\w+:))(?P<text>.*)"
"""Also `Ann:Hi.`, but neither `10:30` nor `https://` nor `:smile:`."""
_BULLET = r"(?:[-–*•·>»]+\s+|>>+\s*|»\s*)?"
_TIME = rf"(?P<time>{STAMP})"
_BOLD = re.compile(r"((?:[-*•]\s+)?)(?:\*\*|__)(.+?)(?:\*\*|__)")
_TIGHT = re.compile(r"(?P<name>[^:\n]{1,60}?)\s?:(?!//)(?P<text>\S.*)")
_ONLY_TIME = re.compile(STAMP)
_BRACKETED = re.compile(rf"(?=[\[(]){STAMP}")
_STARTS_WITH_TIME = re.compile(rf"{STAMP}(?=\s|$)\s*(?:[-–—|]\s)?")


class TurnForm(NamedTuple):
    """How a turn begins."""

    name: str
    sentence: str
    """How a line begins, for the reason: `begin with a time and a name`."""
    pattern: re.Pattern[str]
    """Has the groups `name` and `text`, and may have `time`."""
    accepted: Callable[[Counter[str]], set[str]]
    """The speakers among the names that match."""


def _any_names(candidates: Counter[str]) -> set[str]:
    return {name for name in candidates if name.lower() not in ("", "-", "--") and not set(name) & set("<>=")}


def _labels(candidates: Counter[str]) -> set[str]:
    return set(filter(is_label, candidates))


def _form(name: str, sentence: str, pattern: str, accepted: Callable[[Counter[str]], set[str]] = speakers) -> TurnForm:
    return TurnForm(name, sentence, re.compile(pattern), accepted)


FORMS = (
    _form(
        "time-tab-name",
        "have a time, a name and words between tabs",
        rf"{_TIME}\t\s*(?P<name>[^\t\n]{{1,60}}?):?\t+(?P<text>.*)",
    ),
    _form(
        "time-and-name",
        "begin with a time and a name",
        rf"{_BULLET}{_TIME}\s*+(?:[-–—|]\s*|:\s+)?+(?:(?P<name>[^:<>\[\]\n]{{1,60}}?)(?:\s*[:：]|\s[-–—])|"
        rf"<[@+%&~ ]?(?P<angle>[^<>\n]{{1,60}})>|[\[(](?P<bracket>[^\[\]()]{{1,60}})[\])]\s*:?){_WORDS}",
        _any_names,
    ),
    _form(
        "name-and-time",
        "begin with a name and a time",
        rf"{_BULLET}\[?(?P<name>[^:：\[\]\n]{{1,60}}?)\]?,?\s*:?\s+{_TIME}\s*"
        rf"(?:{COLON}|[-–—](?=\s)|(?<=[\])])(?=\s)){_WORDS}",
    ),
    _form(
        "angle-brackets", "begin with a name in angle brackets", r"<[@+%&~ ]?(?P<name>[^<>\n]{1,60})>\s+(?P<text>.*)"
    ),
    _form("brackets", "begin with a name in brackets", rf"{_BULLET}\[(?P<name>[^\[\]:\n]{{1,60}})\]\s*:?{_WORDS}"),
    _form(
        "parentheses",
        "begin with a speaker's label in brackets",
        rf"\((?P<name>[^()\n]{{1,60}})\)\s*:?{_WORDS}",
        _labels,
    ),
    _form("colon", "begin with a name and a colon", rf"{_BULLET}{_NAME}{_AFTER_COLON}"),
)


class _Start(NamedTuple):
    name: str
    text: str
    time: str | None


def _start(form: TurnForm, line: str) -> _Start | None:
    """The parts of a line that has the form of a turn, whoever the name is."""
    match = form.pattern.match(_BOLD.sub(r"\1\2", line, count=1))
    if match is None:
        return None
    groups = match.groupdict()
    if form.name == "colon" and _BRACKETED.fullmatch(groups["text"] or ""):
        return None  # a heading, with the words below
    name = next((groups[part] for part in ("name", "angle", "bracket") if groups.get(part)), "")
    name = name.strip().strip("*_").strip()
    label = name[1:-1] if name[:1] == "[" and name[-1:] == "]" else name
    label = label.rstrip(":：").lstrip("~").strip()
    return _Start(one_spelling(label), groups["text"] or "", groups.get("time"))


def _accepted(form: TurnForm, lines: list[str]) -> Counter[str]:
    """Speakers of a form, and the number of lines that each begins."""
    starts = [_start(form, line) for line in lines]
    candidates = Counter(start.name for start in starts if start is not None)
    known = form.accepted(candidates)
    if form.name == "colon" and sum(candidates[name] > 1 for name in known) > 1:
        known -= _listed(lines, starts, candidates)
    return Counter({name: candidates[name] for name in known})


def _listed(lines: list[str], starts: list[_Start | None], candidates: Counter[str]) -> set[str]:
    """Words before a colon that are no speakers: they stand once, in a list below a line such as `We need:`."""
    listed: set[str] = set()
    in_list = False
    for line, start in zip(lines, starts, strict=True):
        once = start is not None and candidates[start.name] == 1 and _may_be_listed(start.name)
        if in_list and once and start is not None and not line.endswith((".", "?", "!", "。", "？")):
            listed.add(start.name)
        else:
            in_list = line.endswith((":", "："))
    return listed


def _may_be_listed(name: str) -> bool:
    return len(name.split()) <= MAX_LISTED_WORDS and not is_label(name)


def read_turn_lines(text: str, only: str | None = None) -> Reading | None:
    """The turns, in the form in which most lines begin one, or in the form called `only`; None if no line does."""
    lines = visible_lines(text)
    best, counts = FORMS[0], Counter[str]()
    for form in FORMS if only is None else [form for form in FORMS if form.name == only]:
        speakers_of_form = _accepted(form, lines)
        if speakers_of_form.total() > counts.total():
            best, counts = form, speakers_of_form
    if not counts:
        return None
    reading = Reading([], "", matches=counts.total(), format=best.name)
    spoken = [line for line in lines if program_line(line) is None]
    enough = len(spoken) <= MAX_LINES_PER_TURN * counts.total() or max(counts.values()) > 1
    reading.certain = enough and counts.total() > 1
    reading.reason = f"{counts.total()} of {len(lines)} lines {best.sentence}"
    in_list, known = False, set(counts)
    for line in lines:
        in_list = _add_line(reading, best, line, known, in_list)
    return reading


def _add_line(reading: Reading, form: TurnForm, line: str, known: set[str], in_list: bool) -> bool:
    """A line begins a turn, says what the program says, stands for itself, or continues the turn before.

    in_list: the line before announces a list, or belongs to one. Returns whether this line does.
    """
    turns = reading.turns
    start = _start(form, line)
    if start is None or start.name not in known:
        start = _known_start(line, known) or start
    if start is not None and start.name in known:
        turns.append(Turn(start.name, start.text, start.time))
    elif (kind := LossKind.PROGRAM if _ONLY_TIME.fullmatch(line) else program_line(line)) is not None:
        reading.losses[kind] += 1
        return False
    elif not in_list and (start is not None or resembles_turn(line, known)):
        reading.losses[LossKind.UNATTRIBUTED] += 1
        turns.append(Turn(None, line))
    elif turns and turns[-1].speaker is not None:
        reading.losses[LossKind.JOINED] += 1
        turns[-1] = turns[-1]._replace(text=f"{turns[-1].text} {line}".strip())
        return in_list or line.endswith((":", "："))
    else:
        turns.append(Turn(None, line))
    return line.endswith((":", "："))


def _known_start(line: str, known: set[str]) -> _Start | None:
    """`Ann:Hi.` without a space, or without the time that the other lines have."""
    for pattern in (FORMS[-1].pattern, _TIGHT):
        if (match := pattern.match(line)) and one_spelling(match["name"]) in known:
            return _Start(one_spelling(match["name"]), match["text"].strip(), None)
    return None


def resembles_turn(line: str, known: set[str]) -> bool:
    """Whether a line that begins no turn is rather a broken turn than a further line of the turn before."""
    if match := _STARTS_WITH_TIME.match(line):
        rest = line[match.end() :]
        return bool(rest)
    debris = re.match(rf"(?P<debris>[^:：]{{0,60}}?)\s*{COLON}(?:\s|$)", line)
    return debris is not None and any(debris["debris"].endswith(name) for name in known if len(name) > 1)

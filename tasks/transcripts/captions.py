"""Captions and subtitles: WebVTT, SRT and SBV, also as programs write them against the rules; words below timings.

A timing begins a cue and ends the one before, whatever blank lines say. The digits of a time may be any number.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from tasks.transcripts.caption_markup import voices
from tasks.transcripts.characters import one_spelling, visible_line
from tasks.transcripts.records import LossKind, Reading, Turn
from tasks.transcripts.speaker_names import may_be_name
from tasks.transcripts.timestamps import CUE_TIME
from tasks.transcripts.turn_lines import read_turn_lines

_ARROW = re.compile(rf"({CUE_TIME})\s*(?:-{{1,3}}>|—>|→)\s*({CUE_TIME})(?:\s.*)?")
_COMMA = re.compile(rf"({CUE_TIME}),({CUE_TIME})")
_BLOCK = re.compile(r"(?:NOTE|STYLE|REGION)(?:\s.*)?")
TOUCHING_SECONDS = 0.05
"""A cue that begins so soon after another one may show its last line again."""
MOMENT_SECONDS = 0.1
"""So short a cue only moves the lines of rolling captions up."""


@dataclass(frozen=True)
class Cue:
    """What is shown from one time to another."""

    start: float
    end: float
    time: str
    lines: list[str]


def read_webvtt(text: str) -> Reading | None:
    """The turns of WebVTT; None if there is no timing, or no heading `WEBVTT`."""
    return _read(text, _ARROW, "webvtt") if text.lstrip().startswith("WEBVTT") else None


def read_srt(text: str) -> Reading | None:
    """The turns of SRT, or of WebVTT without its heading; None if no line is a timing."""
    return _read(text, _ARROW, "srt")


def read_sbv(text: str) -> Reading | None:
    """The turns of SBV, the captions of YouTube; None if no line is a timing."""
    return _read(text, _COMMA, "sbv")


def _read(text: str, timing: re.Pattern[str], name: str) -> Reading | None:
    lines = [visible_line(line) for line in text.split("\n")]
    losses: Counter[LossKind] = Counter()
    cues = list(_cues(lines, timing, losses))
    if not cues:
        return None
    reading = read_cues(cues)
    reading.losses.update(losses)
    reading.reason = f"{len(cues)} lines are the timing of a cue" + (
        ", below the heading WEBVTT" if name == "webvtt" else ""
    )
    reading.format = name
    return reading


def _cues(lines: list[str], timing: re.Pattern[str], losses: Counter[LossKind]) -> Iterator[Cue]:
    starts = [number for number, line in enumerate(lines) if timing.fullmatch(line)]
    numbered = sum(number > 0 and lines[number - 1].isdigit() for number in starts) * 2 > len(starts)
    losses[LossKind.COMMENT] += sum(_BLOCK.fullmatch(line) is not None for line in lines[: starts[0] if starts else 0])
    for number, end in pairwise([*starts, len(lines)]):
        body = lines[number + 1 : end]
        if (
            end < len(lines)
            and body
            and (
                (numbered and body[-1].isdigit())
                or (not numbered and len(body) > 1 and not body[-2] and _is_identifier(body[-1]))
            )
        ):
            body.pop()  # the identifier of the next cue
        match = timing.fullmatch(lines[number])
        if match is not None:
            shown = _without_blocks(body, losses)
            yield Cue(_seconds(match[1]), _seconds(match[2]), match[1], [line for line in shown if line])


def _is_identifier(line: str) -> bool:
    return re.fullmatch(r"\d+|[\w-]+/[\w-]+|[0-9a-f-]{32,}", line) is not None


def _without_blocks(body: list[str], losses: Counter[LossKind]) -> list[str]:
    """The lines of a cue without the comments that follow it, each up to a blank line."""
    shown: list[str] = []
    inside = False
    for number, line in enumerate(body):
        if _BLOCK.fullmatch(line) and line.split()[0].isupper() and number and not body[number - 1]:
            inside = True
            losses[LossKind.COMMENT] += 1
        elif not line:
            inside = False
        if not inside:
            shown.append(line)
    return shown


def _seconds(time: str) -> float:
    total = 0.0
    for part in time.replace(",", ".").split(":"):
        total = total * 60 + float(part)
    return total


def read_cues(cues: list[Cue]) -> Reading:
    """Turns of cues, by their voices, by the names before their words, or by names on lines of their own."""
    reading = Reading([], "", matches=len(cues))
    shown = _without_repeats(cues, reading.losses)
    spoken = [(cue, voice, words) for cue in shown for line in cue.lines for voice, words in voices(line)]
    if any(voice for _, voice, _ in spoken):
        _add_voices(reading, [(cue, one_spelling(voice) if voice else None, words) for cue, voice, words in spoken])
        return reading
    if named := _names_above(shown):
        _add_voices(reading, named)
        return reading
    lines = [words for _, _, words in spoken if words]
    talk = read_turn_lines("\n".join(lines))
    if talk is not None and talk.certain:
        reading.losses.update(talk.losses)
        reading.turns = talk.turns
        if talk.turns[0].time is None:
            reading.turns = _with_times(talk.turns, shown)
    else:
        reading.turns = [Turn(None, words, cue.time) for cue, _, words in spoken if words]
    return reading


def _with_times(turns: list[Turn], cues: list[Cue]) -> list[Turn]:
    """The turns, with the time of the first cue that shows how each begins."""
    times = iter([(cue.time, line) for cue in cues for line in cue.lines])
    timed = []
    for turn in turns:
        begin = turn.text[:12]
        timed.append(turn._replace(time=next((time for time, line in times if begin in line), None)))
    return timed


def _add_voices(reading: Reading, spoken: list[tuple[Cue, str | None, str]]) -> None:
    """A voice speaks until another does: lines without one continue it."""
    turns = reading.turns
    previous: Cue | None = None
    for cue, voice, words in spoken:
        if turns and voice in (None, turns[-1].speaker):
            reading.losses[LossKind.JOINED] += voice is None and cue is not previous
            turns[-1] = turns[-1]._replace(text=f"{turns[-1].text} {words}".strip())
        else:
            turns.append(Turn(voice, words, cue.time))
        previous = cue


def _names_above(cues: list[Cue]) -> list[tuple[Cue, str | None, str]]:
    """Cues whose first line is a name of its own, as Teams writes them into a document; empty if they are not."""
    heads = Counter(one_spelling(cue.lines[0]) for cue in cues if len(cue.lines) > 1)
    total = heads.total()
    if total < 2 or total < len(cues) or max(heads.values()) < 2 or not all(map(may_be_name, heads)):
        return []
    if any(":" in name for name in heads) or len(heads) * 2 > total + 1:
        return []
    return [(cue, one_spelling(cue.lines[0]), " ".join(cue.lines[1:])) for cue in cues]


def _without_repeats(cues: list[Cue], losses: Counter[LossKind]) -> list[Cue]:
    """Cues without the lines that rolling captions show again; the same words said again later stay."""
    bare = [[voices(line) for line in cue.lines] for cue in cues]

    def carried(number: int) -> int:
        """Lines at the beginning of a cue that are the last ones of the cue before, which it touches."""
        previous, current = bare[number - 1], bare[number]
        touching = cues[number].start <= cues[number - 1].end + TOUCHING_SECONDS
        sizes = range(min(len(previous), len(current)), 0, -1)
        return next((size for size in sizes if previous[-size:] == current[:size]), 0) if number and touching else 0

    def moves(number: int) -> bool:
        """Whether a cue can only be a part of rolling captions."""
        same_time = cues[number].start < cues[number - 1].end - TOUCHING_SECONDS
        short = cues[number].end - cues[number].start < MOMENT_SECONDS
        return carried(number) > 0 and (len(bare[number]) > carried(number) or short or same_time)

    if not any(map(moves, range(1, len(cues)))):
        return cues
    shown = []
    for number, cue in enumerate(cues):
        losses[LossKind.REPEATED] += carried(number)
        shown.append(replace(cue, lines=cue.lines[carried(number) :]))
    return [cue for cue in shown if cue.lines]

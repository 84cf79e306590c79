"""Texts of speech recognizers: ranges of Whisper, speakers of whisper.cpp, start, end and label of pyannote."""

import re
from collections import Counter

from tasks.transcripts.captions import Cue, read_cues
from tasks.transcripts.characters import one_spelling, visible_lines
from tasks.transcripts.records import LossKind, Reading, Turn
from tasks.transcripts.speaker_names import is_label, may_be_name
from tasks.transcripts.timestamps import CUE_TIME

_RANGE = re.compile(rf"[\[(]?\s*({CUE_TIME})\s*(?:-{{1,3}}>|→)\s*({CUE_TIME})\s*[\])]?:?\s*(.*)")
_SECONDS = re.compile(
    r"\[?\s*(?:start=)?(\d+(?:\.\d+)?)s?\s*(?:[-–—,]|-->|to)?\s+(?:(?:stop|end)=)?(\d+(?:\.\d+)?)s?\s*\]?\s+"
    r"(?:(?P<label>[^\s:]+)|(?P<name>[^:\t]{1,60}?)(?=:|\t|\s{2}))\s*:?(?:\s+(?P<text>.*)|$)"
)
_ROW = re.compile(r"(\d+)\t(\d+)\t(.*)")
"""Of the table that Whisper writes, in milliseconds."""
_LABEL = re.compile(r"((?:SPEAKER|Speaker|speaker|spk)[_ ]?\d+)[:\])]?\s+(.*)")
_PARENTHESIS = re.compile(r"\(([^()]{1,60})\)\s*:?\s*(.*)")


def read_whisper(text: str) -> Reading | None:
    """Words behind a range of times on the same line; None if no line is so."""
    lines = visible_lines(text)
    cues: list[Cue] = []
    further = 0
    for line in lines:
        if (match := _RANGE.match(line) or _ROW.fullmatch(line)) and match[3]:
            words = match[3]
            label = _PARENTHESIS.fullmatch(words) or _LABEL.fullmatch(words)
            words = f"[{label[1]}] {label[2]}" if label and is_label(label[1]) else words
            cues.append(Cue(float(len(cues)), len(cues) + 0.5, match[1], [words]))
        elif cues and line != "start\tend\ttext":
            cues[-1].lines.append(line)
            further += 1
    if not cues:
        return None
    reading = read_cues(cues)
    if all(turn.speaker is None for turn in reading.turns):
        reading.losses[LossKind.JOINED] += further
        reading.turns = [Turn(None, " ".join(cue.lines), cue.time) for cue in cues]
    reading.reason = f"{len(cues)} of {len(lines)} lines begin with a range of times"
    reading.certain = 2 * len(cues) >= len(lines)
    return reading


def _label(match: re.Match[str]) -> str:
    return one_spelling((match["label"] or match["name"]).removeprefix("speaker_"))


def read_pyannote(text: str) -> Reading | None:
    """Start and end in seconds, a label, and words; None if no line is so."""
    lines = visible_lines(text)
    reading = Reading([], "")
    matches = [_SECONDS.match(line) for line in lines]
    names = Counter(_label(match) for match in matches if match)
    for line, match in zip(lines, matches, strict=True):
        name = _label(match) if match else ""
        if match and may_be_name(name) and (is_label(name) or names[name] > 1 or match["name"]):
            reading.turns.append(Turn(name, match["text"] or "", match[1]))
            reading.matches += 1
        elif reading.turns:
            reading.losses[LossKind.JOINED] += 1
            reading.turns[-1] = reading.turns[-1]._replace(text=f"{reading.turns[-1].text} {line}".strip())
        else:
            reading.turns.append(Turn(None, line))
    if not reading.matches:
        return None
    reading.reason = f"{reading.matches} of {len(lines)} lines begin with two times in seconds and a label"
    reading.certain = reading.matches > 1 and 2 * reading.matches >= len(lines)
    return reading

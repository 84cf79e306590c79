"""Texts in the sizes that a classifier reads: sentences of a summary, chunks of a dialogue."""

import re
from collections.abc import Callable, Sequence

from tasks.metrics.word_forms import TITLES, fold

_END = re.compile(r"(?<=[.!?…][\"”’')])\s+(?=[^a-z])|(?<=[.!?…])\s+(?=[^a-z])|(?<=[。！？])|\n+")


def sentences(summary: str) -> list[str]:
    """The sentences of a summary; `Mr. Smith` is not the end of one."""
    found: list[str] = []
    for part in filter(None, map(str.strip, _END.split(summary))):
        if found and fold(found[-1].split()[-1].rstrip(".")) in TITLES and found[-1].endswith("."):
            found[-1] += f" {part}"
        else:
            found.append(part)
    return found


def chunks(dialogue: str, most: int, length: Callable[[str], int]) -> list[str]:
    """Chunks of at most `most` tokens, of whole lines where they fit; each begins with the last line of the one before.

    So that a question and its answer stand together in one of them. length: of a text, in tokens.
    """
    lines = [part for line in dialogue.split("\n") if line.strip() for part in _parts(line, most, length)]
    found: list[list[str]] = []
    for line in lines:
        if found and length("\n".join([*found[-1], line])) <= most:
            found[-1].append(line)
        elif found and length("\n".join([found[-1][-1], line])) <= most:
            found.append([found[-1][-1], line])
        else:
            found.append([line])
    return ["\n".join(chunk) for chunk in found] or [dialogue]


def _parts(line: str, most: int, length: Callable[[str], int]) -> Sequence[str]:
    """A line, or its halves, quarters and so on of at most `most` tokens; a word is not divided."""
    words = line.split(" ")
    if len(words) == 1 or length(line) <= most:
        return [line]
    half = len(words) // 2
    return [part for words in (words[:half], words[half:]) for part in _parts(" ".join(words), most, length)]

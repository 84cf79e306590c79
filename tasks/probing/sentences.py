"""Sentences and clauses of a summary, by their punctuation."""

import re
from collections.abc import Iterator

from tasks.metrics.word_forms import TITLES

_END = re.compile(r"[.!?…]+[\"'”’»)]*\s+(?=[^\sa-z])|[。！？]+[”」』）]*\s*|\n+")
_ABBREVIATION = re.compile(r"(?:^|[\s(\"“])([^\W\d_]{1,4})\.$")
_CLAUSE_END = re.compile(
    r"[,.;:!?。，；：！？\n]|\b(?:but|because|so|while|when|that|then|after|before|although|though|if|as|since|who|which)\b"
    r"|\band(?=\s+(?:#|[A-Z]))"
)


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each sentence, without the space between them; `Ms. Lee` ends none."""
    start = 0
    for match in _END.finditer(text):
        before = text[start : match.end()].rstrip()
        word = _ABBREVIATION.search(before)
        if word and (word[1].lower() in TITLES or len(word[1]) == 1):
            continue
        if before:
            yield start, start + len(before)
        start = match.end()
    if text[start:].strip():
        yield start, start + len(text[start:].rstrip())


def clause_around(text: str, start: int, end: int) -> tuple[int, int]:
    """The part between conjunctions and punctuation marks in which `text[start:end]` stands."""
    ends = [match for match in _CLAUSE_END.finditer(text) if not start <= match.start() < end]
    first = max((match.end() for match in ends if match.end() <= start), default=0)
    last = min((match.start() for match in ends if match.start() >= end), default=len(text))
    return first, last

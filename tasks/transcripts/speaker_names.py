"""What a speaker may be called: names of any script, labels of programs, telephone numbers; and what is none."""

import re
import unicodedata
from collections import Counter

from tasks.transcripts.characters import one_spelling

MAX_NAME = 60
"""Characters of the longest name."""
MAX_WORDS = 6
"""Words of a name that stands in a file only once, without what is in brackets or after a comma."""
NOT_NAMES = frozenset(
    {"agenda", "attendees", "date", "duration", "edit", "location", "nb", "note", "notes", "participants"}
    | {"place", "present", "ps", "re", "subject", "summary", "time", "title", "topic", "update", "warning"}
    | {"action items", "p.s", "p.s.", "n.b.", "http", "https", "mailto", "ftp", "file", "fyi", "guild", "channel"}
    | {
        "meeting",
        "meeting id",
        "recording",
        "start",
        "end",
        "start time",
        "end time",
        "cc",
        "bcc",
        "from",
        "to",
        "sent",
    }
)
"""Words before a colon in meeting notes and messages that are not speakers."""
_PARTICLES = frozenset(
    [
        "a",
        "af",
        "al",
        "ap",
        "auf",
        "av",
        "bin",
        "bint",
        "d",
        "da",
        "dal",
        "dalla",
        "das",
        "de",
        "degli",
        "dei",
        "del",
        "della",
        "den",
        "der",
        "des",
        "di",
        "do",
        "dos",
        "du",
        "e",
        "el",
        "en",
        "et",
        "für",
        "i",
        "ibn",
        "in",
        "la",
        "las",
        "le",
        "los",
        "of",
        "on",
        "op",
        "te",
        "ten",
        "ter",
        "the",
        "und",
        "v",
        "van",
        "vom",
        "von",
        "y",
        "z",
        "za",
        "zu",
        "zum",
        "zur",
        "и",
        "von",
        "and",
        "&",
        "+",
        "at",
        "for",
    ]
)
"""Words of a name that begin with a small letter."""
_REMARK = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|（[^（）]*）|,.*|\s[|/@–—-]\s.*")
"""What stands behind a name: pronouns, a title, a company."""
_SENTENCE = re.compile(r"[?;…。？！]|!\s+\w+\s+\w+|\w{6,}\.\s+\w+|https?:|www\.|->|=")
_LABEL = re.compile(r"[^\W\d_]+[ _-]?[#№]?\s?\d{1,3}|[^\W\d_]+[ _-](?:\?|[A-Z])")
_PAIRS = ("()", "[]", "«»", "（）", "<>", "{}")
_OPENS = re.compile(r"[\w#№+@(\"“«'’]")


def is_label(name: str) -> bool:
    """`SPEAKER_00`, `speaker 1`, `Спикер №1`: a name that a program gives."""
    return _LABEL.fullmatch(name) is not None


def may_be_name(name: str) -> bool:
    """Whether a name that stands in a file several times can be a speaker's."""
    name = one_spelling(name)
    balanced = all(name.count(pair[0]) == name.count(pair[1]) for pair in _PAIRS) and name.count('"') % 2 == 0
    return (
        0 < len(name) <= MAX_NAME
        and balanced
        and name.lower() not in NOT_NAMES
        and not _SENTENCE.search(name)
        and any(unicodedata.category(character)[0] in "LNS" for character in name)
        and (_OPENS.match(name) is not None or unicodedata.category(name[0]) in ("So", "Sk", "Mn"))
    )


def is_name(name: str) -> bool:
    """Whether a name that stands in a file only once looks like a speaker's."""
    name = one_spelling(name)
    if not may_be_name(name) or "!" in name:
        return False
    words = _REMARK.sub(" ", name).split() or name.split()
    if len(words) == 1 or is_label(name):
        return True
    if any(word.isupper() and len(word) > 2 for word in words):  # The SPEAKER pro tempore
        return len(words) <= MAX_WORDS
    return len(words) <= MAX_WORDS and all(map(_is_name_word, words))


def _is_name_word(word: str) -> bool:
    first = next((character for character in word if unicodedata.category(character)[0] == "L"), None)
    return first is None or not _is_small(first) or word.lower().strip("'’.") in _PARTICLES or word.startswith("al-")


def _is_small(letter: str) -> bool:
    """Whether a letter has a capital that names begin with; Georgian letters have capitals for headlines only."""
    return letter.islower() and not "\u10d0" <= letter <= "\u10ff"


def speakers(candidates: Counter[str]) -> set[str]:
    """Those of the names before colons that are speakers: they look like names, or come back.

    A name with a small first letter that stands on one line only, among people with capitals, is a word of a list.
    """
    names = {name for name, count in candidates.items() if (count > 1 and may_be_name(name)) or is_name(name)}
    capitals = [name for name in names if candidates[name] > 1 and not _is_small(name[:1])]
    if len(capitals) > 1:
        names = {name for name in names if candidates[name] > 1 or not _is_small(name[:1]) or is_label(name)}
    return names

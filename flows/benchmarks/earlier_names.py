"""The baseline of bench names: the measure that knew names by their capitals alone, as in English."""

import re
from collections.abc import Collection, Sequence

import numpy as np

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_TAG = re.compile(r"#[^\s#]{1,40}#")
_TITLES_AND_DATES = frozenset(
    _WORD.findall(
        "i mr mrs ms dr monday tuesday wednesday thursday friday saturday sunday january february march april may june "
        "july august september october november december"
    )
)


def earlier_names(summary: str, dialogue: str, lowercase: Collection[str]) -> list[str]:
    """Tags and capitalised words that the dialogue does not have to the letter, and nobody writes in small letters."""
    known = {part.lower() for word in _WORD.findall(dialogue) for part in (word, *re.split("['’-]", word))}
    names = [tag for tag in _TAG.findall(summary) if tag not in _TAG.findall(dialogue)]
    for word in _WORD.findall(_TAG.sub(" ", summary)):
        name = re.sub(r"['’]s?$", "", word)
        small = name.lower()
        allowed = any(small in words for words in (lowercase, known, _TITLES_AND_DATES))
        if name[:1].isupper() and len(name) > 1 and not allowed:
            names += [name] * (not any(part in known for part in re.split("['’-]", small)))
    return names


def was_applied(dialogues: Sequence[str], references: Sequence[Sequence[str]], lowercase: Collection[str]) -> bool:
    """Whether at most 10 % of the references had such a word; 20 dialogues without any were added to the count."""
    wrong = [
        any(not name.startswith("#") for name in earlier_names(text, dialogue, lowercase))
        for dialogue, row in zip(dialogues, references, strict=True)
        for text in row
    ]
    return bool(np.mean(wrong) * len(dialogues) / (len(dialogues) + 20) <= 0.1)

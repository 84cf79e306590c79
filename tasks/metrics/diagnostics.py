"""What ROUGE does not see: how long a summary is, whether it ended, repeats itself, copies, or names who is not there."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

REPEATED, COPIED = 3, 4
"""Length of the n-grams, in words, that are looked for within the summary and in the dialogue."""
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_TAG = re.compile(r"#[^\s#]{1,40}#")
_CALENDAR = frozenset(
    [
        "i",
        "mr",
        "mrs",
        "ms",
        "dr",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ]
)


COLUMNS = ("words", "reference_words", "empty", "at_limit", "repeated", "copied", "speaker_error")
"""What `behaviour` measures of every summary."""
NAMES = "names not in the dialogue"
"""The part of `speaker_errors` that needs a language with capital letters for names alone, and names that are not inflected."""
MOST_OF_REFERENCES, ADDED = 0.1, 20
"""Above this share of human references with such a name, names are not looked for. DialogSum's have one in 2 of 100. The
share is taken as if so many dialogues more had none: few dialogues have few words in small letters to compare with."""
SHOWN = {
    "length_ratio": ("words to words of the references", False),
    "words": ("words a summary", False),
    "at_limit": ("cut at the token limit", True),
    "empty": ("empty", True),
    "repeated": ("3-grams that repeat themselves", True),
    "copied": ("4-grams copied from the dialogue", True),
    "speaker_errors": ("names or tags not in the dialogue", True),
}
"""What the report says of `in_the_mean`: the measure -> its words, and whether it is a share."""


def behaviour(
    summaries: Sequence[str],
    stops: Sequence[str] | None,
    dialogues: Sequence[str],
    references: Sequence[Sequence[str]],
    names: bool = True,
) -> dict[str, np.ndarray]:
    """Measures of every summary, arrays of shape (rows,).

    words, reference_words   counts; the second is the mean over the references
    empty, at_limit          1 or 0; at_limit is left out without `stops` (`stop_token` or `limit` for each row)
    repeated                 share of the 3-grams that stood in the same summary before
    copied                   share of the 4-grams that stand in the dialogue; NaN for a summary of fewer words
    speaker_error            1 where a speaker tag or a name stands in the summary but not in the dialogue; without
                             `names`, a tag alone
    """
    lower = _known_words(dialogues, references)
    columns: dict[str, list[float]] = {name: [] for name in COLUMNS if name != "at_limit"}
    for summary, dialogue, row in zip(summaries, dialogues, references, strict=True):
        words = _words(summary)
        columns["words"].append(len(words))
        columns["reference_words"].append(float(np.mean([len(_words(text)) for text in row])))
        columns["empty"].append(not words)
        columns["repeated"].append(_repeated(words))
        columns["copied"].append(_copied(words, _words(dialogue)))
        columns["speaker_error"].append(bool(strangers(summary, dialogue, lower, names)))
    found = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    if stops is not None:
        found["at_limit"] = np.asarray([stop == "limit" for stop in stops], dtype=np.float64)
    return found


def in_the_mean(rows: dict[str, np.ndarray]) -> dict[str, Any]:
    """Measures of `behaviour` over all rows; the length ratio is of the sums, so that short rows do not rule it."""
    copied = rows["copied"][~np.isnan(rows["copied"])]
    found = {
        "length_ratio": rows["words"].sum() / max(rows["reference_words"].sum(), 1),
        "words": rows["words"].mean(),
        "empty": rows["empty"].mean(),
        "repeated": rows["repeated"].mean(),
        "copied": copied.mean() if len(copied) else 0.0,
        "speaker_errors": rows["speaker_error"].mean(),
    }
    if "at_limit" in rows:
        found["at_limit"] = rows["at_limit"].mean()
    return {name: round(float(value), 4) for name, value in found.items()}


def names_misfit(dialogues: Sequence[str], references: Sequence[Sequence[str]]) -> str | None:
    """Why names are not looked for in these texts; None where they are.

    The human references decide: where many of them have a name that their dialogue has not, as in German, where every noun
    is capitalised, or in Russian, where names are inflected, no summary could be told from an invention.
    """
    lower = _known_words(dialogues, references)
    found = [
        any(not word.startswith("#") for word in strangers(text, dialogue, lower))
        for dialogue, row in zip(dialogues, references, strict=True)
        for text in row
    ]
    share = float(np.mean(found))
    if share * len(dialogues) / (len(dialogues) + ADDED) <= MOST_OF_REFERENCES:
        return None
    return (
        f"{100 * share:.1f} % of the human references have a capitalised word that is not in their dialogue, so such words "
        "are no sign of invented names in the language of this data"
    )


def strangers(summary: str, dialogue: str, lower: frozenset[str] | set[str], names: bool = True) -> list[str]:
    """Speaker tags such as #Person3#, and with `names` names, that the summary has and the dialogue has not.

    A name is a capitalised word that nobody in `lower` writes in small letters. On DialogSum's own references this finds
    something in 2 % of them: misspelt names, a family name that the annotator inferred.
    """
    said = {part.lower() for word in _WORD.findall(dialogue) for part in (word, *re.split("['’-]", word))}
    tags = set(_TAG.findall(dialogue))
    found = [tag for tag in _TAG.findall(summary) if tag not in tags]
    for word in _WORD.findall(_TAG.sub(" ", summary)) if names else []:
        name = re.sub(r"['’]s?$", "", word)
        small = name.lower()
        if not name[:1].isupper() or len(name) < 2 or small in lower or small in said or small in _CALENDAR:
            continue
        if not any(part in said for part in re.split("['’-]", small)):
            found.append(name)
    return found


def _known_words(dialogues: Sequence[str], references: Sequence[Sequence[str]]) -> set[str]:
    return _lowercase_words([*dialogues, *(text for row in references for text in row)])


def _lowercase_words(texts: Iterable[str]) -> set[str]:
    return {word for text in set(texts) for word in _WORD.findall(text) if word.islower()}


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _grams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def _repeated(words: list[str]) -> float:
    grams = _grams(words, REPEATED)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _copied(words: list[str], source: list[str]) -> float:
    grams, there = _grams(words, COPIED), set(_grams(source, COPIED))
    return sum(gram in there for gram in grams) / len(grams) if grams else float("nan")

"""What ROUGE does not measure: length, truncation, repetition, copying and invented names of summaries."""

import re
from collections.abc import Sequence
from functools import partial

import numpy as np

from tasks.config import TokenizerName
from tasks.metrics.score_table import DIAGNOSTIC_COLUMNS
from tasks.tokenization import tokenize, words

REPETITION_N, COPY_N = 3, 4
"""Words of the n-grams that are counted as repeated within the summary, or as copied from the dialogue."""
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_TAG = re.compile(r"#[^\s#]{1,40}#")
_TITLES_AND_DATES = frozenset(
    _WORD.findall(
        "i mr mrs ms dr monday tuesday wednesday thursday friday saturday sunday january february march april may june "
        "july august september october november december"
    )
)
"""Capitalised words that are not names of persons."""

NAMES_MEASURE = "names not in the dialogue"
"""The part of `speaker_errors` that needs a language that capitalises names only, and does not inflect them."""
MAX_REFERENCES_WITH_NEW_NAMES, SMOOTHING_ROWS = 0.1, 20
"""Names are not checked if more human references than this share have a name that their dialogue does not have.
DialogSum has 2 in 100. The share is computed as if this many dialogues more had none: few dialogues have few words in
small letters to compare with."""


def diagnose(
    summaries: Sequence[str],
    stops: Sequence[str] | None,
    dialogues: Sequence[str],
    references: Sequence[Sequence[str]],
    check_names: bool = True,
    tokenizer: TokenizerName = "auto",
) -> dict[str, np.ndarray]:
    """Measures of every summary, arrays of shape (rows,), by the names in DIAGNOSTIC_COLUMNS.

    words, reference_words   counts; the second is the mean over the references
                             characters instead of words if the tokenizer is `characters`
    empty, at_limit          1 or 0; at_limit is left out without `stops` (`stop_token` or `limit` for each row)
    repeated                 share of the 3-grams that occur earlier in the same summary
    copied                   share of the 4-grams that occur in the dialogue; NaN for a shorter summary
    speaker_error            1 if a speaker tag, or with `check_names` a name, is in the summary but not in the dialogue
    """
    split = partial(tokenize, tokenizer="characters") if tokenizer == "characters" else words
    lowercase = _lowercase_words(dialogues, references)
    columns: dict[str, list[float]] = {name: [] for name in DIAGNOSTIC_COLUMNS if name != "at_limit"}
    for summary, dialogue, row in zip(summaries, dialogues, references, strict=True):
        tokens = split(summary)
        columns["words"].append(len(tokens))
        columns["reference_words"].append(float(np.mean([len(split(text)) for text in row])))
        columns["empty"].append(not tokens)
        columns["repeated"].append(_repeated_share(tokens))
        columns["copied"].append(_copied_share(tokens, split(dialogue)))
        columns["speaker_error"].append(bool(hallucinated_names(summary, dialogue, lowercase, check_names)))
    measures = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    if stops is not None:
        measures["at_limit"] = np.asarray([stop == "limit" for stop in stops], dtype=np.float64)
    return measures


def aggregate(measures: dict[str, np.ndarray]) -> dict[str, float]:
    """Measures of `diagnose` over all rows. The length ratio is one of sums, so that short rows do not dominate it."""
    copied = measures["copied"][~np.isnan(measures["copied"])]
    totals = {
        "length_ratio": measures["words"].sum() / max(measures["reference_words"].sum(), 1),
        "words": measures["words"].mean(),
        "empty": measures["empty"].mean(),
        "repeated": measures["repeated"].mean(),
        "copied": copied.mean() if len(copied) else 0.0,
        "speaker_errors": measures["speaker_error"].mean(),
    }
    if "at_limit" in measures:
        totals["at_limit"] = measures["at_limit"].mean()
    return {name: round(float(value), 4) for name, value in totals.items()}


def reason_to_skip_names(dialogues: Sequence[str], references: Sequence[Sequence[str]]) -> str | None:
    """Why names cannot be checked in these texts; None if they can.

    The human references decide. If many of them have a "name" that their dialogue does not have, as in German, which
    capitalises all nouns, or in Russian, which inflects names, the check would call correct summaries wrong.
    """
    lowercase = _lowercase_words(dialogues, references)
    new_names = [
        any(not word.startswith("#") for word in hallucinated_names(text, dialogue, lowercase))
        for dialogue, row in zip(dialogues, references, strict=True)
        for text in row
    ]
    share = float(np.mean(new_names))
    if share * len(dialogues) / (len(dialogues) + SMOOTHING_ROWS) <= MAX_REFERENCES_WITH_NEW_NAMES:
        return None
    return (
        f"{100 * share:.1f} % of the human references have a capitalised word that is not in their dialogue, so such "
        "words are no sign of invented names in the language of this data"
    )


def hallucinated_names(
    summary: str, dialogue: str, lowercase: frozenset[str] | set[str], check_names: bool = True
) -> list[str]:
    """Speaker tags such as #Person3#, and with `check_names` names, in the summary but not in the dialogue.

    A name is a capitalised word that is not in `lowercase`, the words that the texts also write in small letters. In
    DialogSum's own references this finds something in 2 of 100: misspelt names, and family names that the annotator
    inferred.
    """
    known = {part.lower() for word in _WORD.findall(dialogue) for part in (word, *re.split("['’-]", word))}
    tags = set(_TAG.findall(dialogue))
    names = [tag for tag in _TAG.findall(summary) if tag not in tags]
    for word in _WORD.findall(_TAG.sub(" ", summary)) if check_names else []:
        name = re.sub(r"['’]s?$", "", word)
        small = name.lower()
        if (
            not name[:1].isupper()
            or len(name) < 2
            or any(small in words for words in (lowercase, known, _TITLES_AND_DATES))
        ):
            continue
        if not any(part in known for part in re.split("['’-]", small)):
            names.append(name)
    return names


def _lowercase_words(dialogues: Sequence[str], references: Sequence[Sequence[str]]) -> set[str]:
    texts = {*dialogues, *(text for row in references for text in row)}
    return {word for text in texts for word in _WORD.findall(text) if word.islower()}


def _ngrams(tokens: list[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[i:] for i in range(n)), strict=False))


def _repeated_share(tokens: list[str]) -> float:
    grams = _ngrams(tokens, REPETITION_N)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _copied_share(tokens: list[str], source: list[str]) -> float:
    grams, in_source = _ngrams(tokens, COPY_N), set(_ngrams(source, COPY_N))
    return sum(gram in in_source for gram in grams) / len(grams) if grams else float("nan")

"""What ROUGE does not measure: length, truncation, repetition, copying and invented names of summaries."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from tasks.config import TokenizerName
from tasks.metrics.entity_checks import EntityChecks, entity_checks
from tasks.metrics.score_table import DIAGNOSTIC_COLUMNS, NUMBERS_MEASURE
from tasks.tokenization import tokenize, words

REPETITION_N, COPY_N = 3, 4
"""Words of the n-grams that are counted as repeated within the summary, or as copied from the dialogue."""


def diagnose(
    summaries: Sequence[str],
    stops: Sequence[str] | None,
    dialogues: Sequence[str],
    references: Sequence[Sequence[str]],
    checks: EntityChecks | None = None,
    tokenizer: TokenizerName = "auto",
) -> dict[str, np.ndarray]:
    """Measures of every summary, arrays of shape (rows,), by the names in DIAGNOSTIC_COLUMNS.

    words, reference_words   counts; the second is the mean over the references
                             characters instead of words if the tokenizer is `characters`
    empty, at_limit          1 or 0; at_limit is left out without `stops` (`stop_token` or `limit` for each row)
    repeated                 share of the 3-grams that occur earlier in the same summary
    copied                   share of the 4-grams that occur in the dialogue; NaN for a shorter summary
    speaker_error            1 if a speaker tag, a speaker or a name is in the summary but not in the dialogue
    number_error             1 if a number is; left out if the data does not allow to check numbers

    checks: what is checked; None decides it by these texts.
    """
    split = partial(tokenize, tokenizer="characters") if tokenizer == "characters" else words
    checks = checks or entity_checks(dialogues, references)
    columns: dict[str, list[float]] = {name: [] for name in DIAGNOSTIC_COLUMNS if name != "at_limit"}
    for summary, dialogue, row in zip(summaries, dialogues, references, strict=True):
        tokens = split(summary)
        columns["words"].append(len(tokens))
        columns["reference_words"].append(float(np.mean([len(split(text)) for text in row])))
        columns["empty"].append(not tokens)
        columns["repeated"].append(_repeated_share(tokens))
        columns["copied"].append(_copied_share(tokens, split(dialogue)))
        columns["speaker_error"].append(bool(checks.speaker_errors(summary, dialogue)))
        if (wrong := checks.number_errors(summary, dialogue)) is not None:
            columns["number_error"].append(bool(wrong))
    measures = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    if NUMBERS_MEASURE in checks.not_applied:
        del measures["number_error"]
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
    if "number_error" in measures:
        totals["number_errors"] = measures["number_error"].mean()
    if "at_limit" in measures:
        totals["at_limit"] = measures["at_limit"].mean()
    return {name: round(float(value), 4) for name, value in totals.items()}


def _ngrams(tokens: list[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[i:] for i in range(n)), strict=False))


def _repeated_share(tokens: list[str]) -> float:
    grams = _ngrams(tokens, REPETITION_N)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _copied_share(tokens: list[str], source: list[str]) -> float:
    grams, in_source = _ngrams(tokens, COPY_N), set(_ngrams(source, COPY_N))
    return sum(gram in in_source for gram in grams) / len(grams) if grams else float("nan")

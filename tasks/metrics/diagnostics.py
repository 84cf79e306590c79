"""What ROUGE does not measure: length, truncation, repetition, copying and invented names of summaries."""

import re
from collections.abc import Sequence

import numpy as np

from tasks.metrics.entity_checks import NAMES_MEASURE, NUMBERS_MEASURE, EntityChecks, entity_checks
from tasks.metrics.names import hallucinated_names as hallucinated_names
from tasks.metrics.score_table import DIAGNOSTIC_COLUMNS

REPETITION_N, COPY_N = 3, 4
"""Words of the n-grams that are counted as repeated within the summary, or as copied from the dialogue."""
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def diagnose(
    summaries: Sequence[str],
    stops: Sequence[str] | None,
    dialogues: Sequence[str],
    references: Sequence[Sequence[str]],
    checks: EntityChecks | None = None,
) -> dict[str, np.ndarray]:
    """Measures of every summary, arrays of shape (rows,), by the names in DIAGNOSTIC_COLUMNS.

    words, reference_words   counts; the second is the mean over the references
    empty, at_limit          1 or 0; at_limit is left out without `stops` (`stop_token` or `limit` for each row)
    repeated                 share of the 3-grams that occur earlier in the same summary
    copied                   share of the 4-grams that occur in the dialogue; NaN for a shorter summary
    speaker_error            1 if a speaker tag, a speaker or a name is in the summary but not in the dialogue
    number_error             1 if a number is; left out if the data does not allow to check numbers

    checks: what is checked; None decides it by these texts.
    """
    checks = checks or entity_checks(dialogues, references)
    columns: dict[str, list[float]] = {name: [] for name in DIAGNOSTIC_COLUMNS if name != "at_limit"}
    for summary, dialogue, row in zip(summaries, dialogues, references, strict=True):
        words = _words(summary)
        columns["words"].append(len(words))
        columns["reference_words"].append(float(np.mean([len(_words(text)) for text in row])))
        columns["empty"].append(not words)
        columns["repeated"].append(_repeated_share(words))
        columns["copied"].append(_copied_share(words, _words(dialogue)))
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


def reason_to_skip_names(dialogues: Sequence[str], references: Sequence[Sequence[str]]) -> str | None:
    """Why names cannot be checked in these texts by their capitals; None if they can."""
    return entity_checks(dialogues, references).not_applied.get(NAMES_MEASURE)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _ngrams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[i:] for i in range(n)), strict=False))


def _repeated_share(words: list[str]) -> float:
    grams = _ngrams(words, REPETITION_N)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def _copied_share(words: list[str], source: list[str]) -> float:
    grams, in_source = _ngrams(words, COPY_N), set(_ngrams(source, COPY_N))
    return sum(gram in in_source for gram in grams) / len(grams) if grams else float("nan")

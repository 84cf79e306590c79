"""Which share of right facts each system prefers to wrong ones, by kind, with intervals and paired differences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from artifacts.errors import StageError
from tasks.metrics.bootstrap import bootstrap_counts, paired_difference, percentile_intervals, resampled_means
from tasks.metrics.probe_kinds import ProbeKind
from tasks.metrics.score_table import System
from tasks.metrics.scores import Difference, Interval, ProbeKindScores, ProbeScores, ProbeShare

PREFERENCE = "log-probability per token"
ALL_KINDS = "all kinds"
_SHARE = ("share",)


def preferences(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], float]:
    """(dialogue, kind) -> 1 if the model prefers the reference, 0 if it prefers the corruption, 0.5 if neither.

    It prefers the text with the higher log-probability per token, as in FacEval (its code takes the mean over tokens).
    The sum would decide by length: of two texts of which one has a word more, a language model almost always gives the
    shorter the higher sum, so an inserted `not` would look like an error that every model sees.
    """
    result = {}
    for row in rows:
        reference = row["logp_reference"] / max(row["tokens_reference"], 1)
        corruption = row["logp_corruption"] / max(row["tokens_corruption"], 1)
        result[row["id"], row["kind"]] = 1.0 if reference > corruption else 0.5 if reference == corruption else 0.0
    return result


def probe_scores(
    tables: Mapping[str, Sequence[Mapping[str, Any]]],
    left_out: Mapping[str, int],
    not_applied: Mapping[str, str],
    resamples: int,
    seed: int,
) -> ProbeScores | None:
    """Shares and differences of every system; None if no dialogue has a pair.

    tables: system -> rows of LIKELIHOODS, `base` among them. left_out: kind -> number of dialogues without a pair.
    StageError if the systems did not compare the same texts.
    """
    texts = {
        system: [(row["id"], row["kind"], row["reference"], row["corruption"]) for row in rows]
        for system, rows in tables.items()
    }
    base = texts[System.BASE]
    if other := [system for system, pairs in texts.items() if pairs != base]:
        raise StageError(f"the probes of base and {other[0]} compare different texts: rerun probe for both")
    if not base:
        return None
    ids = list(dict.fromkeys(row[0] for row in base))
    counts = bootstrap_counts(len(ids), resamples, seed)
    preferred = {system: preferences(rows) for system, rows in tables.items()}
    kinds = [str(kind) for kind in ProbeKind if any(row[1] == kind for row in base)]
    values = {
        system: np.array([[chosen.get((name, kind), np.nan) for kind in kinds] for name in ids])
        for system, chosen in preferred.items()
    }
    by_kind = tuple(
        _kind_scores(kind, {system: table[:, i] for system, table in values.items()}, counts, left_out.get(kind, 0))
        for i, kind in enumerate(kinds)
    )
    means = {system: np.nanmean(table, axis=1) for system, table in values.items()}
    return ProbeScores(
        dialogues=len(ids),
        pairs=len(base),
        preference=PREFERENCE,
        kinds=by_kind,
        all_kinds=_kind_scores(ALL_KINDS, means, counts, 0),
        not_applied=dict(not_applied),
    )


def _kind_scores(kind: str, values: Mapping[str, np.ndarray], counts: np.ndarray, left_out: int) -> ProbeKindScores:
    """values: system -> preference of each dialogue, NaN where it has no pair."""
    has_pair = ~np.isnan(values[System.BASE])
    columns = {system: column[has_pair, None] for system, column in values.items()}
    counts = counts[:, has_pair]
    tuned = columns.get(System.TUNED)
    differences: dict[str, Difference] = {}
    if tuned is not None:
        differences = {
            system: paired_difference(tuned - column, counts, _SHARE)["share"]
            for system, column in columns.items()
            if system != System.TUNED
        }
    return ProbeKindScores(
        kind=kind,
        dialogues=int(has_pair.sum()),
        left_out=left_out,
        shares={system: _share(column, counts) for system, column in columns.items()},
        differences=differences,
    )


def _share(column: np.ndarray, counts: np.ndarray) -> ProbeShare:
    interval: Interval = percentile_intervals(resampled_means(column, counts))[0]
    return ProbeShare(share=round(float(column.mean()) * 100, 4), interval=interval)

"""What a judge says of every system: means, intervals and paired differences of its scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from artifacts.errors import StageError
from tasks.metrics.bootstrap import bootstrap_counts, paired_difference, percentile_intervals, resampled_means
from tasks.metrics.judgement import Judgement, Kind, read_judgements
from tasks.metrics.score_table import System
from tasks.metrics.scores import Difference, JudgeScore, JudgeScores

ROLE = "judge_"
"""Begins the name of a stage's input that has judgements."""
REFERENCES = "references"
"""The variant with both ends of the scale."""


def judge_role(system: str) -> str:
    """Name of the input with the judgements of a system, or of the references: `judge_tuned`, `judge_references`."""
    return f"{ROLE}{system}"


def score_judgements(name: str, payloads: Mapping[str, Path], resamples: int, seed: int) -> JudgeScores:
    """Aggregate the judgements of every system and of the references.

    A dialogue counts if the judge's answers for it could be read in all systems, so that differences are paired; each
    end of the scale has the dialogues of its own.

    name: of the judge. payloads: system or `references` -> payload folder of its judge artifact.
    """
    judged = {role: read_judgements(payload) for role, payload in payloads.items()}
    predictions = {role: kinds[Kind.PREDICTION] for role, kinds in judged.items() if role != REFERENCES}
    ids = [*next(iter(predictions.values()))]
    read = [i for i in ids if all(rows[i].score is not None for rows in predictions.values())]
    if not read:
        raise StageError(f"{name} has no score for any dialogue in all systems: run again with --refresh judge")
    counts = bootstrap_counts(len(read), resamples, seed)
    scores = {
        system: np.asarray([rows[i].score for i in read], dtype=np.float64) for system, rows in predictions.items()
    }
    systems = {
        system: _score(values, counts, [predictions[system][i] for i in read]) for system, values in scores.items()
    }
    for kind, rows in judged.get(REFERENCES, {}).items():
        known = [row for row in rows.values() if row.score is not None]
        if known:
            values = np.asarray([row.score for row in known], dtype=np.float64)
            systems[kind] = _score(values, bootstrap_counts(len(known), resamples, seed), known)
    return JudgeScores(
        judge=name,
        dialogues=len(read),
        unreadable=len(ids) - len(read),
        systems=systems,
        differences=_differences(scores, counts),
    )


def _score(values: np.ndarray, counts: np.ndarray, judgements: Sequence[Judgement]) -> JudgeScore:
    return JudgeScore(
        mean=round(float(values.mean()) * 100, 4),
        interval=percentile_intervals(resampled_means(values[:, None], counts))[0],
        unsupported=round(float(np.mean([bool(one.unsupported) for one in judgements])), 4),
    )


def _differences(scores: Mapping[str, np.ndarray], counts: np.ndarray) -> dict[str, Difference]:
    tuned = scores.get(System.TUNED)
    if tuned is None:
        return {}
    return {
        system: paired_difference((tuned - values)[:, None], counts, ("score",))["score"]
        for system, values in scores.items()
        if system != System.TUNED
    }

"""Scores of a judge: means and paired differences by hand, intervals by resampling with plain loops."""

import random
from pathlib import Path

import numpy as np
import pytest

from artifacts.errors import StageError
from artifacts.schemas import JUDGEMENTS, write_table
from tasks.metrics.judge_scores import judge_role, score_judgements
from tasks.metrics.judgement import Kind, read_judgements


def payload(folder: Path, scores: list[float | None], kind: Kind = Kind.PREDICTION, unsupported: int = 0) -> Path:
    """Judgements of dialogues 0, 1, …; the first `unsupported` of them name something."""
    folder.mkdir()
    rows = [
        {"id": f"{i}", "kind": kind.value, "score": score, "lowest": None}
        | {"unsupported": ["x"] if i < unsupported else [], "answer": None}
        for i, score in enumerate(scores)
    ]
    write_table(rows, JUDGEMENTS, folder / "judgements.parquet")
    return folder


def test_means_and_differences_are_over_the_dialogues_that_all_systems_have(tmp_path: Path) -> None:
    """Dialogue 1 has no score of the base model, so it counts for neither."""
    payloads = {
        "base": payload(tmp_path / "base", [0.2, None, 0.4]),
        "tuned": payload(tmp_path / "tuned", [0.5, 1.0, 0.9], unsupported=1),
        "references": payload(tmp_path / "references", [1.0, 0.8, None], Kind.REFERENCE),
    }
    scores = score_judgements("judge", payloads, 500, 0)
    assert (scores.dialogues, scores.unreadable) == (2, 1)
    assert {name: score.mean for name, score in scores.systems.items()} == pytest.approx(
        {"base": 30, "tuned": 70, "reference": 90}
    )
    assert scores.systems["tuned"].unsupported == 0.5
    assert scores.differences["base"].mean == pytest.approx(40)
    assert scores.differences["base"].probability_better == 1
    assert scores.differences["base"].interval == pytest.approx((30, 50))  # each resample is 30, 40 or 50


def test_intervals_are_those_of_a_bootstrap_over_dialogues(tmp_path: Path) -> None:
    draw = random.Random(1)
    base, tuned = ([draw.random() for _ in range(40)] for _ in range(2))
    payloads = {"base": payload(tmp_path / "base", [*base]), "tuned": payload(tmp_path / "tuned", [*tuned])}
    scores = score_judgements("judge", payloads, 4000, 0)
    samples = [[draw.randrange(40) for _ in range(40)] for _ in range(4000)]
    means = [100 * sum(tuned[i] for i in rows) / 40 for rows in samples]
    deltas = [100 * sum(tuned[i] - base[i] for i in rows) / 40 for rows in samples]
    assert scores.systems["tuned"].interval == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.6)
    assert scores.differences["base"].interval == pytest.approx(np.percentile(deltas, [2.5, 97.5]), abs=0.9)


def test_a_judge_without_a_common_dialogue_is_an_error(tmp_path: Path) -> None:
    payloads = {"base": payload(tmp_path / "b", [None, 0.1]), "tuned": payload(tmp_path / "t", [0.1, None])}
    with pytest.raises(StageError, match="no score for any dialogue in all systems"):
        score_judgements("judge", payloads, 10, 0)


def test_judgements_are_read_by_kind_and_dialogue(tmp_path: Path) -> None:
    read = read_judgements(payload(tmp_path / "x", [0.25], Kind.REFERENCE, unsupported=1))
    assert read[Kind.REFERENCE]["0"].score == 0.25
    assert read[Kind.REFERENCE]["0"].unsupported == ("x",)
    assert judge_role("tuned") == "judge_tuned"

"""Which stages start a worker process is read from their declarations."""

from dataclasses import replace

import pytest

from tasks.probe import PROBE
from tasks.registry import STAGES, worker_follows, worker_modules
from tasks.score import SCORE


@pytest.mark.parametrize(
    ("stage", "variant", "follows"),
    [
        ("download", None, True),
        ("format", "train", True),
        ("train", None, True),
        ("generate", "base", True),
        ("generate", "tuned", True),
        ("probe", "base", True),
        ("probe", "tuned", False),
        ("score", None, False),
        ("report", None, False),
    ],
)
def test_a_worker_is_expected_while_a_later_stage_has_one(stage: str, variant: str | None, follows: bool) -> None:
    assert worker_follows(STAGES[stage], variant) is follows


def test_a_new_stage_with_a_worker_is_expected_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but its declaration is needed."""
    workers = [f"tasks.{name}.worker" for name in ("training", "sampling", "decoding", "probing")]
    assert worker_modules() == workers
    monkeypatch.setitem(STAGES, "score", replace(SCORE, worker="tasks.scoring.worker"))
    assert worker_follows(PROBE, "tuned")
    assert worker_modules()[-1] == "tasks.scoring.worker"

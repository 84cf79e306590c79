"""Which stages start a worker process is read from their declarations."""

from dataclasses import replace

import pytest

from tasks.generate import GENERATE
from tasks.registry import STAGES, worker_follows, worker_modules
from tasks.score import SCORE


@pytest.mark.parametrize(
    ("stage", "variant", "follows"),
    [
        ("download", None, True),
        ("format", "train", True),
        ("train", None, True),
        ("generate", "base", True),
        ("generate", "tuned", False),
        ("score", None, False),
        ("report", None, False),
    ],
)
def test_a_worker_is_expected_while_a_later_stage_has_one(stage: str, variant: str | None, follows: bool) -> None:
    assert worker_follows(STAGES[stage], variant) is follows


def test_a_new_stage_with_a_worker_is_expected_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but its declaration is needed."""
    assert worker_modules() == ["tasks.training.worker", "tasks.sampling.worker", "tasks.decoding.worker"]
    monkeypatch.setitem(STAGES, "score", replace(SCORE, worker="tasks.scoring.worker"))
    assert worker_follows(GENERATE, "tuned")
    assert worker_modules()[-1] == "tasks.scoring.worker"

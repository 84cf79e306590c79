"""Optuna proposes the same after an interruption, within the space, and never has the best training ended."""

import math
import random
import sys
from typing import Any

import pytest

from artifacts.errors import RequestError
from flows.sweeps.optuna_study import TRIALS_BEFORE_PRUNING, OptunaStudy, import_optuna
from flows.sweeps.space import Space, parse_space
from flows.sweeps.trials import Trial

needs_optuna = pytest.mark.usefixtures("optuna")


@pytest.fixture
def optuna() -> Any:
    return pytest.importorskip("optuna", reason="no optuna: make setup")


@pytest.fixture(scope="module")
def space() -> Space:
    over = ["train.learning_rate=1e-5..1e-2", "train.lora.rank=4,8,16", "train.epochs=1..3", "train.batch_size=2..64"]
    return parse_space("quickstart", [], over, sampled=True)


def score(trial: Trial) -> float:
    """Best at a learning rate of 1e-3."""
    rank, rate = trial.parameters["train.lora.rank"], trial.parameters["train.learning_rate"]
    return float(40 + rank / 8 - 5 * abs(math.log10(rate) + 3))


def proposed(study: OptunaStudy, count: int) -> list[Trial]:
    """Trials as a sweep makes them; the third fails and the fourth is pruned."""
    trials: list[Trial] = []
    for number in range(count):
        trial = Trial(number=number, parameters=study.propose(trials, 0), losses={0: 9.0, 4: 3.0})
        state = {2: "failed", 3: "pruned"}.get(number, "complete")
        value = score(trial) if state == "complete" else None
        trials.append(trial.model_copy(update={"state": state, "value": value}))
    return trials


@needs_optuna
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_proposals_depend_on_the_trials_and_the_seed_alone(space: Space, sampler: Any) -> None:
    """After any trial, from the records as the store has them; another seed or attempt gives others."""
    trials = proposed(OptunaStudy(space, sampler, 0), 12)
    for number in (1, 5, 11):
        stored = [Trial.model_validate_json(trial.model_dump_json()) for trial in trials[:number]]
        again = OptunaStudy(space, sampler, 0)
        assert again.propose(stored, 0) == trials[number].parameters
        assert again.propose(stored, 1) != trials[number].parameters
    assert [trial.parameters for trial in proposed(OptunaStudy(space, sampler, 1), 3)] != [
        trial.parameters for trial in trials[:3]
    ]


@needs_optuna
def test_proposals_lie_in_the_space_and_have_few_digits(space: Space) -> None:
    for trial in proposed(OptunaStudy(space, "tpe", 3), 20):
        assert space.contains(trial.parameters)
        rate = trial.parameters["train.learning_rate"]
        assert rate == float(f"{rate:.3g}")


@needs_optuna
def test_tpe_learns_from_the_scores(space: Space) -> None:
    """Over several seeds its later proposals are better than those drawn at random."""

    def mean_of_last(sampler: Any) -> float:
        values = [score(trial) for seed in range(4) for trial in proposed(OptunaStudy(space, sampler, seed), 25)[15:]]
        return sum(values) / len(values)

    assert mean_of_last("tpe") > mean_of_last("random") + 0.5


def curves(count: int, generator: random.Random) -> list[list[float]]:
    """Losses at four measurements that fall at different speeds and never cross; the first is the best."""
    return [[4.0 * (0.9 - 0.02 * (count - rank)) ** at for at in range(1, 5)] for rank in range(count)]


@needs_optuna
@pytest.mark.parametrize("seed", range(5))
def test_the_best_training_is_never_ended_and_bad_ones_are(space: Space, seed: int) -> None:
    """Twenty curves in random order: whoever is ended lies in the worse half of those before it, at half its steps."""
    study, generator = OptunaStudy(space, "grid", 0), random.Random(seed)
    known = list(enumerate(curves(20, generator)))
    generator.shuffle(known)
    others: list[Trial] = []
    ended: list[int] = []
    for rank, curve in known:
        trial = Trial(number=rank, parameters={}, losses={0: 9.0})
        for at, loss in enumerate(curve, 1):
            trial = trial.model_copy(update={"losses": trial.losses | {10 * at: loss}})
            if reason := study.prune_reason(trial, others, evaluations=4):
                assert "lowest validation loss" in reason
                assert at == 2  # not before half of the training, and at once then
                assert len(others) >= TRIALS_BEFORE_PRUNING
                assert sum(other.number < rank for other in others) >= len(others) / 2
                ended.append(rank)
                break
        else:
            others.append(trial.model_copy(update={"state": "complete"}))
    assert 0 not in ended
    assert len(ended) >= 5


@needs_optuna
def test_a_loss_that_falls_late_is_judged_by_its_lowest_value(space: Space) -> None:
    """A training that overfits at the end is not ended for it."""
    study = OptunaStudy(space, "grid", 0)
    others = [Trial(number=n, parameters={}, state="complete", losses={1: 3.0, 2: 2.0, 3: 1.5}) for n in range(5)]
    overfits = Trial(number=5, parameters={}, losses={1: 1.0, 2: 2.5, 3: 4.0})
    slow = Trial(number=6, parameters={}, losses={1: 3.5, 2: 2.5})
    assert study.prune_reason(overfits, others, evaluations=3) is None
    assert study.prune_reason(slow, others, evaluations=3) is not None
    assert study.prune_reason(slow, others, evaluations=8) is None


def test_without_the_package_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(RequestError, match=r"^--sampler tpe needs the package optuna: pip install '.*\[sweep\]'$"):
        import_optuna("--sampler tpe")

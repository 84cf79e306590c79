"""The plan of a sweep: counted by hand, priced by what earlier artifacts took, and bounded where nobody knows yet."""

import json
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.cache_key import sha256
from artifacts.manifest import InputRef, Provenance
from artifacts.retention import run_notes
from flows.sweeps.sweep_plan import plan_sweep
from flows.sweeps.trials import Trial, TrialStore
from tests.support.pipelines import DagWalker
from tests.support.sweeps import SweepRunner


@pytest.fixture
def runner(models: dict[str, Path], data: Path) -> SweepRunner:
    """12 training rows; of a batch of 4, in 2 steps 8 rows are trained; 4 dialogues are summarized."""
    return SweepRunner(models["llama"], data, "report.price_per_gpu_hour=36")


def publish(stage: str, store: Store, runner: SweepRunner, seconds: float, **measured: Any) -> str:
    """An artifact of the base model of these trials, with these measurements."""
    revision = runner.setup("train.lora.rank=2").base.model.revision
    config: dict[str, Any] = {"model": {"revision": revision}, "quantization": "none", "turns": "chatml"}
    config |= {"train": {"batch_size": 5}, "generate": {"beams": 1, "candidates": 1}}
    key = sha256([stage, measured, seconds, len(store.folders())])
    with store.lock(stage, key) as scratch:
        (scratch / "out").mkdir()
        (scratch / "out" / "file").write_text("")
        adapter = {"adapter": InputRef(id="train-00000000", digest="")} if measured.pop("tuned", False) else {}
        return store.publish(
            scratch / "out",
            stage=stage,
            variant=None,
            name="measured",
            key=key,
            rows=10,
            identity={"config": config},
            facts={"steps": 20, "train_rows": 40},
            inputs=adapter,
            provenance=Provenance(at="2026-01-01T00:00:00", seconds=seconds, run="", measured=measured),
        ).id


def download_and_format(runner: SweepRunner) -> None:
    """Make what a trial needs before it trains, as an interrupted sweep has."""
    from flows import dag

    class EnoughError(Exception):
        pass

    walker = DagWalker()

    def step(stage: Any, variant: Any, spec: Any, **inputs: Any) -> Any:
        if stage.name not in ("download", "format"):
            raise EnoughError
        return walker.step(stage, variant, spec, **inputs)

    with pytest.raises(EnoughError):
        dag.trial(runner.setup("train.lora.rank=2").base, step)


def test_a_grid_is_counted_and_what_was_never_measured_is_said(runner: SweepRunner, store: Store) -> None:
    """Before anything is there: three trials, each to run; nothing is written and no package is needed."""
    plan = plan_sweep(runner.setup("train.lora.rank=1,2,3"))
    assert [trial.state for trial in plan.trials] == ["to run"] * 3
    assert (plan.left, plan.unknown) == (3, 0)
    assert plan.sentence() == (
        "3 trials with the recipe as it is, 0 of them finished or reused; time of train trial, generate validation "
        "base, generate validation tuned: not measured yet"
    )
    assert not store.manifests()
    assert not run_notes(store)
    assert json.dumps(plan.to_json())


def test_the_time_is_that_of_earlier_artifacts_by_hand(runner: SweepRunner, store: Store) -> None:
    """Training: 30 s fixed (10 of them loading, 20 validation) and 80 s for 20 steps of 5 rows: 0.8 s a row, for 8
    rows. Generation: base 1 s and tuned 2 s a row, for 4 dialogues, and 5 s fixed. The base summarizes once."""
    download_and_format(runner)
    publish("train", store, runner, 9000.0, training_seconds=9000.0)  # older, and therefore not used
    train = publish(
        "train", store, runner, 110.0, training_seconds=100.0, validation_seconds=20.0, device="GPU", processes=2
    )
    base = publish("generate", store, runner, 15.0, generating_seconds=10.0, device="GPU")
    tuned = publish("generate", store, runner, 25.0, generating_seconds=20.0, device="GPU", tuned=True)
    plan = plan_sweep(runner.setup("train.lora.rank=1,2,3"))
    training, of_base, of_tuned = 30 + 8 * 0.8, 5 + 4 * 1.0, 5 + 4 * 2.0
    assert [trial.estimate.seconds for trial in plan.trials] == pytest.approx(
        [training + of_base + of_tuned, training + of_tuned, training + of_tuned]
    )
    assert plan.at_least == plan.at_most
    assert {*plan.at_most.measured} == {train, base, tuned}
    gpu_seconds = 3 * (2 * training + of_tuned) + of_base
    assert plan.at_most.gpu_seconds == pytest.approx(gpu_seconds)
    assert f"take about 3 min and {gpu_seconds / 100:.2f} at report.price_per_gpu_hour" in plan.sentence()


def test_the_rows_of_a_resumed_training_are_those_after_its_checkpoint(runner: SweepRunner, store: Store) -> None:
    """15 of 20 steps were done before: 25 rows took the 25 seconds."""
    download_and_format(runner)
    publish("train", store, runner, 25.0, training_seconds=25.0, resumed_at=15)
    publish("generate", store, runner, 0.0, generating_seconds=0.0)
    publish("generate", store, runner, 0.0, generating_seconds=0.0, tuned=True)
    assert plan_sweep(runner.setup("train.lora.rank=1")).at_most.seconds == pytest.approx(8.0)


def test_another_way_of_decoding_was_not_measured(runner: SweepRunner, store: Store) -> None:
    """128 candidates take longer than one: nothing is guessed from it."""
    download_and_format(runner)
    publish("train", store, runner, 10.0, training_seconds=10.0)
    publish("generate", store, runner, 10.0, generating_seconds=10.0)
    publish("generate", store, runner, 10.0, generating_seconds=10.0, tuned=True)
    plan = plan_sweep(runner.setup("generate.candidates=1,128"))
    assert not plan.trials[0].estimate.unknown
    assert plan.trials[1].estimate.unknown == ("generate validation base", "generate validation tuned")
    assert "not measured yet; " in plan.sentence()


def test_a_sampled_sweep_has_bounds(runner: SweepRunner, store: Store) -> None:
    """Steps from 2 to 6 of 4 rows, 1 s a row: 9 unknown trials take 8 to 24 s each, the recipe as it is 8 s."""
    download_and_format(runner)
    publish("train", store, runner, 100.0, training_seconds=100.0)
    publish("generate", store, runner, 0.0, generating_seconds=0.0)
    publish("generate", store, runner, 0.0, generating_seconds=0.0, tuned=True)
    setup = runner.setup("train.max_steps=2..6", "train.lora.rank=1..8", trials=10, sampler="tpe")
    plan = plan_sweep(setup)
    assert (len(plan.trials), plan.unknown) == (1, 9)
    assert (plan.at_least.seconds, plan.at_most.seconds) == pytest.approx((8 + 9 * 8, 8 + 9 * 24))
    assert "take about 80 s to 4 min" in plan.sentence()
    records = TrialStore(store, setup.id)
    records.save(Trial(number=0, parameters=setup.reference, state="complete", value=1.0))
    records.save(Trial(number=1, parameters={"train.max_steps": 3, "train.lora.rank": 2}, state="failed"))
    later = plan_sweep(setup)
    assert [trial.state for trial in later.trials] == ["complete", "failed"]
    assert (later.unknown, later.left) == (8, 8)
    assert later.at_most.seconds == pytest.approx(8 * 24)

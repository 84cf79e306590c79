"""Sweeps as they are used: by the command line, terminated and resumed, and as a deployment on the GPU pool."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from flows import dag
from flows.labels import Overrides
from flows.recipe import load_recipe
from flows.sweeps.setup import SweepRequest, SweepSetup
from flows.sweeps.trials import Trial, TrialStore
from tests.support.data import tiny_data
from tests.support.pipelines import set_options, small_overrides
from tests.support.processes import run_cli, start_cli
from tests.support.stations import LocalStation, wait_until
from tests.support.sweeps import by_number

pytestmark = pytest.mark.slow
MEASURED = 1000
"""Validation losses of a training that is long enough to be ended while it runs."""


def test_a_sweep_by_the_command_line_is_planned_terminated_and_resumed(
    tmp_path: Path, models: dict[str, Path], store: Store
) -> None:
    """SIGTERM leaves a checkpoint in the second trial, from which the next command goes on."""
    settings = small_overrides(
        "smollm2-135m", models["llama"], tiny_data(tmp_path / "data"), "train.max_steps=120", "train.evaluations=60"
    )
    words = [*set_options(settings), "--over", "train.lora.rank=2"]
    options = ["--no-prune", "--json", "--out", str(tmp_path)]
    planned = run_cli("plan", *words)
    assert planned.returncode == 0, planned.stderr
    assert "2 trials with the recipe as it is, 0 of them finished or reused" in planned.stdout
    process = start_cli("sweep", *words, *options)
    setup = _setup(settings, ("train.lora.rank=2",))
    records = TrialStore(store, setup.id)
    wait_until(lambda: len(trials := records.trials()) == 2 and len(trials[1].curve) > 5)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 143
    interrupted = records.trials()
    assert [trial.state for trial in interrupted] == ["complete", "running"]
    again = run_cli("sweep", *words, *options)
    assert again.returncode == 0, again.stderr
    assert "resuming from the checkpoint after step" in again.stderr
    summary = json.loads(again.stdout)
    assert [trial["state"] for trial in by_number(summary)] == ["complete", "complete"]
    assert by_number(summary)[0]["seconds"] == interrupted[0].seconds
    assert by_number(summary)[1]["seconds"] > interrupted[1].seconds > 0
    assert (tmp_path / f"smollm2-135m-sweep-{setup.id}.yaml").is_file()
    planned = run_cli("plan", *words)
    assert "2 of them finished or reused: nothing is left to run" in planned.stdout


def _setup(settings: list[str], over: tuple[str, ...]) -> SweepSetup:
    base = dag.resolve_recipe(load_recipe("smollm2-135m", settings), Overrides(own=tuple(settings)))
    return SweepSetup(SweepRequest(recipe="smollm2-135m", over=over), base)


def _start(station: LocalStation, settings: list[str], *over: str, **options: Any) -> str:
    return station.start("sweep/sweep", recipe="smollm2-135m", over=[*over], overrides=settings, **options)


def test_a_child_that_is_cancelled_is_a_failed_trial_and_the_sweep_goes_on(station: LocalStation) -> None:
    """Each training and generation is a child on the GPU pool; the page of the sweep has the table."""
    long = [*station.settings, "train.learning_rate=1e-9"]
    parent = _start(station, long, "train.max_steps=100000", prune=False)

    def running() -> list[dict[str, Any]]:
        children = [run for run in station.children(parent) if run["state_type"] == "RUNNING"]
        return [run for run in children if "100000 steps" in run["name"]]

    wait_until(running)
    (child,) = running()
    station.post(f"/flow_runs/{child['id']}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
    ended = station.ended(parent)
    assert ended["state_type"] == "COMPLETED", ended["state"]
    assert "Of 2 tried (1 failed), none scores higher than the recipe as it is" in ended["state"]["message"]
    names = [run["name"].split(" ")[0] for run in station.children(parent)]
    assert names == ["train", "generate", "generate", "train"]
    (page,) = station.post("/artifacts/filter", artifacts={"key": {"any_": ["sweep"]}})
    assert "Cancelled" in page["data"]


def test_a_training_on_the_pool_is_ended_when_its_loss_is_high(
    station: LocalStation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent run sees the losses of its child; the child is cancelled, and the pool is free for the next."""
    pytest.importorskip("optuna")
    monkeypatch.setenv("DIALOGSUM_STORE", str(station.folder / "store"))
    settings = [*station.settings, "train.max_steps=3000", f"train.evaluations={MEASURED}"]
    setup = _setup(settings, ("train.seed=1,2,3,4",))
    records = TrialStore(Store.current(), setup.id)
    for number, parameters in enumerate(setup.grid[:4]):
        good = {3 * at: 0.01 for at in range(MEASURED + 1)}
        known = Trial(number=number, parameters=parameters, state="complete", losses=good, value=50.0)
        records.save(known.model_copy(update={"interval": (49.0, 51.0), "dialogues": "4"}))
    parent = _start(station, settings, "train.seed=1,2,3,4")
    ended = station.ended(parent)
    assert ended["state_type"] == "COMPLETED", ended["state"]
    (child,) = station.children(parent)
    assert station.ended(child["id"])["state_type"] == "CANCELLED"
    pruned = records.trials()[4]
    assert pruned.state == "pruned"
    assert MEASURED // 2 <= len(pruned.curve) < MEASURED
    assert pruned.seconds > 0
    assert station.get("/v2/concurrency_limits/gpu")["active_slots"] == 0

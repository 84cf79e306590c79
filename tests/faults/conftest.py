"""Faults injected for real. Each test says how often it tried and what was lost; tests/faults/fault_table.py prints it.

`make test-faults` runs the long forms (marker `faults`) and the short ones, `make test` the short ones alone.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest, Record
from artifacts.refs import Ref
from tasks.execution.stage import Job, Stage, decide, perform
from tasks.workers.events import Events, Silent
from tests.conftest import put_workers_inline, shrunk, tiny_data

SHORT_AND_LONG = (pytest.param("short"), pytest.param("long", marks=pytest.mark.faults))


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path], prefect_server: None) -> Path:
    """A folder with `data` and the `store` of one finished run of the real flow."""
    folder = tmp_path_factory.mktemp("finished")
    tiny_data(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIALOGSUM_STORE", str(folder / "store"))
        put_workers_inline(patch)
        from flows.pipeline import retrain

        retrain(recipe="smollm2-135m", overrides=shrunk("smollm2-135m", models["llama"], folder / "data"))
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path, store: Store) -> Path:
    """A copy of it, whose store is the test's."""
    shutil.copytree(finished / "data", tmp_path / "data")
    shutil.copytree(finished / "store", store.root.path)
    return tmp_path


@pytest.fixture
def wanted(copied: Path, models: dict[str, Path]) -> list[str]:
    """The overrides by which that run finds all it needs in the copy."""
    return shrunk("smollm2-135m", models["llama"], copied / "data")


def planned(wanted: list[str]) -> dict[str, dict[str, Any]]:
    """What `plan` says, by the stage's folder or, where it would be new, its name."""
    from flows import dag
    from flows.planner import Planner
    from flows.recipe import load_recipe

    planner = Planner()
    dag.retrain(dag.set_up(load_recipe("smollm2-135m", wanted)), planner.step)
    return {" ".join(filter(None, [e["stage"], e["of"]])): e for e in planner.stages}


class Walk:
    """The graph without Prefect: every stage decided and performed, here."""

    def __init__(self, events: Events | None = None) -> None:
        self.events, self.made = events or Silent(), list[tuple[Manifest, bool]]()

    def step(self, stage: Stage, of: str | None, spec: Record, **given: Any) -> Ref:
        inputs = {role: ref if isinstance(ref, Ref) else Ref.of_manifest(ref) for role, ref in given.items()}
        identity = decide(stage, of, spec, inputs).identity
        job = Job(
            stage=stage.name, of=of, spec=spec.model_dump(mode="json"), inputs=inputs, identity=identity, run="walk",
            runtime={"device": "cpu"},  # type: ignore[arg-type]
        )  # fmt: skip
        self.made.append(self.perform(stage, job))
        return Ref.of_manifest(self.made[-1][0])

    def perform(self, stage: Stage, job: Job) -> tuple[Manifest, bool]:
        return perform(stage, job, self.events)

    def through(self, wanted: list[str]) -> None:
        from flows import dag
        from flows.recipe import load_recipe

        dag.retrain(dag.set_up(load_recipe("smollm2-135m", wanted)), self.step)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """`command("plan", …) -> (exit code, standard output, standard error)`: the command line, called here."""
    from flows.cli.main import main

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dialogsum", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), *capfd.readouterr()

    return call


def settings(wanted: list[str]) -> list[str]:
    """Overrides as arguments of the command line."""
    return ["smollm2-135m", *[word for setting in wanted for word in ("--set", setting)]]

"""Trackers are found by their modules: a further one is one file."""

import json
import os
import re
from pathlib import Path

import pytest

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from flows.integrations import trackers
from flows.integrations.outbox import note, send_waiting
from flows.integrations.tracked_runs import run_sources, tracked_run
from flows.integrations.tracker import find_tracker, tracker_names
from flows.recipe import load_recipe
from tests.support.paths import ROOT


def test_the_tracker_of_the_guide_is_found_and_gets_every_run(
    tmp_path: Path, tracked_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module as written, under 60 lines: recipes take its name, and it gets points and results."""
    guide = (ROOT / "docs" / "how-to" / "trackers.md").read_text()
    source = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)[0]
    assert len(source.splitlines()) < 60
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "json_tracker.py").write_text(source)
    monkeypatch.setattr(trackers, "__path__", [*trackers.__path__, str(tmp_path / "modules")])
    monkeypatch.setenv("RUNS_FOLDER", str(tmp_path / "runs"))
    assert load_recipe("quickstart", ["track=[json]"]).track == ("json",)
    tracker, sources = find_tracker("json"), run_sources(tracked_store)
    tracker.add_points(tracker.opened("train-1a2b3c4d", "train-1a2b3c4d"), {1: {"curve/train_loss": 2.0}})
    note(tracked_store, "json", sources)
    assert send_waiting(tracked_store, "json", tracker).sent == len(sources)
    files = {file.name: json.loads(file.read_text()) for file in (tmp_path / "runs").iterdir()}
    assert files.pop("train-1a2b3c4d.jsonl") == {"step": 1, "curve/train_loss": 2.0}
    expected = [tracked_run(tracked_store, source) for source in sources.values()]
    assert files == {f"{run.id}.json": json.loads(run.model_dump_json()) for run in expected}


def test_bundled_trackers_are_found_and_others_refused() -> None:
    assert tracker_names() == ["mlflow", "tensorboard", "trackio", "wandb"]
    with pytest.raises(RequestError, match="there is no tracker 'mlflw'; did you mean 'mlflow'"):
        find_tracker("mlflw")


def test_telemetry_is_off_unless_the_user_has_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of MLflow by its variable, of wandb's error reports by theirs; what is set already stays."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "true")
    find_tracker("mlflow")
    find_tracker("wandb")
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["WANDB_ERROR_REPORTING"] == "true"

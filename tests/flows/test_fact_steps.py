"""The probes in the DAG: which models are probed, on what, and what reads the result."""

import json
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.champions import Champions
from flows import dag
from flows.dag import ResolvedRecipe
from flows.planner import Planner
from flows.recipe import load_recipe
from tasks.config import ProbeSpec
from tasks.execution.stage import Stage
from tasks.manifest_views import ProbeView, ScoresView
from tasks.metrics.scores import Scores
from tests.support.models import publish_adapter
from tests.support.pipelines import DagWalker, small_overrides


def resolved_recipe(model: Path, data: Path, *overrides: str) -> ResolvedRecipe:
    settings = small_overrides("smollm2-135m", model, data, "probe.dialogues=500", *overrides)
    return dag.resolve_recipe(load_recipe("smollm2-135m", settings))


class Recorder:
    """Plans every step, and records its settings and inputs."""

    def __init__(self) -> None:
        self.planner, self.specs, self.inputs = Planner(), dict[str, Any](), dict[str, dict[str, Any]]()

    def step(self, stage: Stage, variant: str | None, spec: Any, **inputs: Any) -> Any:
        name = " ".join(filter(None, [stage.name, variant]))
        self.specs[name], self.inputs[name] = spec, inputs
        return self.planner.step(stage, variant, spec, **inputs)


def test_every_model_that_is_scored_is_probed_behind_its_own_prompt(
    store: Store, models: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    """The champion with its own prompt and chat template; score and report read the probes."""
    resolved = resolved_recipe(models["llama"], data)
    adapter = publish_adapter(store, models["llama"], tmp_path / "adapter", "Old: {dialogue}")
    champion = resolved.candidate(adapter).model_copy(update={"template": "Old: {dialogue}", "turns": "none"})
    Champions(store, resolved.model.revision).promote(champion, "score-00000000", "test")
    recorder = Recorder()
    dag.retrain(resolved_recipe(models["llama"], data), recorder.step)
    probes = {name: spec for name, spec in recorder.specs.items() if isinstance(spec, ProbeSpec)}
    assert {name: spec.turns for name, spec in probes.items()} == {
        "probe base": "chatml",
        "probe tuned": "chatml",
        "probe champion": "none",
    }
    for system in ("base", "tuned", "champion"):
        inputs, generated = recorder.inputs[f"probe {system}"], recorder.inputs[f"generate {system}"]
        assert inputs["rows"] == generated["rows"]
        assert inputs.get("adapter") == generated.get("adapter")
    assert recorder.inputs["probe champion"]["rows"] != recorder.inputs["probe tuned"]["rows"]
    for reader in ("score", "report"):
        assert {"probe_base", "probe_tuned", "probe_champion"} <= set(recorder.inputs[reader])


def test_the_probed_weights_are_those_that_summarize(
    store: Store, models: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    """NF4 for a recipe that trains on it; the champion keeps the weights that it was evaluated with."""
    resolved = resolved_recipe(models["llama"], data)
    adapter = publish_adapter(store, models["llama"], tmp_path / "adapter", "Old: {dialogue}")
    Champions(store, resolved.model.revision).promote(resolved.candidate(adapter), "score-00000000", "test")
    recorder = Recorder()
    dag.retrain(resolved_recipe(models["llama"], data, "model.quantization=nf4"), recorder.step)
    for system, expected in {"base": "nf4", "tuned": "nf4", "champion": "none"}.items():
        assert recorder.specs[f"probe {system}"].quantization == expected
        assert recorder.specs[f"generate {system}"].generate.quantization == expected


@pytest.mark.parametrize(
    ("overrides", "dialogues"),
    [([], 500), (["generate.limit=3"], 3), (["generate.limit=3", "probe.dialogues=2"], 2), (["probe.dialogues=0"], 0)],
)
def test_no_more_dialogues_are_probed_than_summarized(
    store: Store, models: dict[str, Path], data: Path, overrides: list[str], dialogues: int
) -> None:
    """With 0 there is no probe, and the inputs of score and report are those of earlier versions."""
    recorder = Recorder()
    dag.retrain(resolved_recipe(models["llama"], data, *overrides), recorder.step)
    probes = [spec.probe.dialogues for spec in recorder.specs.values() if isinstance(spec, ProbeSpec)]
    assert probes == [dialogues] * 2 if dialogues else probes == []
    assert any(role.startswith("probe_") for role in recorder.inputs["score"]) is bool(dialogues)
    assert any(role.startswith("probe_") for role in recorder.inputs["report"]) is bool(dialogues)


def test_decoding_changes_no_probe(store: Store, models: dict[str, Path], data: Path) -> None:
    """Nothing is decoded: a new decoding is evaluated without a new probe."""
    first, second = Recorder(), Recorder()
    dag.retrain(resolved_recipe(models["llama"], data), first.step)
    dag.retrain(resolved_recipe(models["llama"], data, "generate.beams=2", "generate.max_new_tokens=9"), second.step)
    assert first.specs["probe tuned"] == second.specs["probe tuned"]
    assert first.specs["generate tuned"] != second.specs["generate tuned"]


@pytest.mark.usefixtures("workers_inline")
def test_a_whole_run_scores_gates_and_reports_the_probes(store: Store, models: dict[str, Path], data: Path) -> None:
    """Real stages with a tiny model on four dialogues; the second time nothing runs."""
    overrides = small_overrides("smollm2-135m", models["llama"], data, "probe.dialogues=4", "gate.least_rows=1")
    walker = DagWalker()
    walker.through(overrides)
    by_stage: dict[str, list[Any]] = {}
    for manifest, ran in walker.results:
        assert ran
        by_stage.setdefault(manifest.stage, []).append(manifest)
    assert [manifest.variant for manifest in by_stage["probe"]] == ["base", "tuned"]
    assert ProbeView(by_stage["probe"][1]).adapter_id == by_stage["train"][0].id
    scores = Scores.load(store.payload(by_stage["score"][0].path))
    assert scores.probe is not None
    assert scores.probe.dialogues == 4
    assert set(ScoresView(by_stage["score"][0]).predictions) == {"base", "tuned"}
    assert set(ScoresView(by_stage["score"][0]).preferred) == {"base", "tuned"}
    decision = json.loads((store.payload(by_stage["promote"][0].path) / "decision.json").read_text())
    (check,) = [check for check in decision["checks"] if check["name"] == "preferred facts"]
    assert check["applied"]
    assert "against the base model" in check["got"]
    report = (store.payload(by_stage["report"][0].path) / "report.html").read_text(encoding="utf-8")
    assert "Facts and errors" in report
    again = DagWalker()
    again.through(overrides)
    assert not any(ran for manifest, ran in again.results if manifest.stage != "report")

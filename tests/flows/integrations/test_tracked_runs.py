"""What a run in a tracker consists of, for candidates, further seeds, and evaluations without an adapter."""

import json
from pathlib import Path

import pytest

from artifacts.artifact_store import Store
from flows import dag
from flows.integrations.tracked_runs import run_sources, tracked_run
from flows.recipe import load_recipe
from tasks.reporting.links import REPORTS_URL
from tests.support.pipelines import DagWalker, patch_known_summaries, patch_workers_inline, small_overrides


def test_a_candidate_and_a_further_seed_have_their_own_scores(tracked_store: Store) -> None:
    """Each shows the first evaluation of its own adapter, with what the gate decided if it did."""
    runs = {run.id: run for run in (tracked_run(tracked_store, s) for s in run_sources(tracked_store).values())}
    candidate, seed = tracked_store.manifests("train")
    assert runs.keys() == {candidate.id, seed.id}
    for adapter, variant, decision in ((candidate, None, "rejected"), (seed, "seed 1", None)):
        run = runs[adapter.id]
        (scores,) = [m for m in tracked_store.manifests("score") if m.variant == variant]
        content = json.loads((tracked_store.payload(scores.path) / "scores.json").read_text())
        tuned = content["protocols"][content["headline"]]["systems"]["tuned"]["rouge1"]
        assert run.metrics["test/tuned/rouge1"] == tuned["f1"]
        assert (run.tags.get("variant"), run.tags.get("decision")) == (variant, decision)
        assert run.parameters["train.seed"] == (1 if variant else 0)
        assert run.metrics["measured/tokens_per_second"] == adapter.provenance.measured["tokens_per_second"]
        assert run.ended - run.started == pytest.approx(adapter.provenance.seconds, abs=1e-3)
    assert runs[candidate.id].tags["reasons"].startswith("test dialogues: 4 (required: at least 30)")


def test_links_lead_to_a_station_where_there_is_one(tracked_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise to the file; where the report is served is no content that is sent again."""
    source = next(iter(run_sources(tracked_store).values()))
    (report,) = tracked_store.manifests("report")
    file, digest = tracked_run(tracked_store, source).links["report"], source.digest
    assert file == f"{tracked_store.absolute(report.path)}/payload/report.html"
    monkeypatch.setenv(REPORTS_URL, "http://station.test:4201")
    assert tracked_run(tracked_store, source).links["report"] == f"http://station.test:4201/report/{report.id}"
    assert next(iter(run_sources(tracked_store).values())).digest == digest


def test_the_base_model_alone_and_a_trial_on_validation_dialogues(
    models: dict[str, Path], data: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is a run without a parent; the second shows scores of the validation split, until there are others."""
    patch_workers_inline(monkeypatch)
    patch_known_summaries(monkeypatch, data)
    resolved = dag.resolve_recipe(load_recipe("smollm2-135m", small_overrides("smollm2-135m", models["llama"], data)))
    walker = DagWalker()
    dag.trial(resolved, walker.step)
    dag.evaluate(resolved, walker.step, None)
    trial, base = (tracked_run(store, source) for source in run_sources(store).values())
    assert (trial.tags["variant"], trial.parent, base.parent) == ("trial", None, None)
    assert "validation/tuned/rouge1" in trial.metrics
    assert not any(name.startswith("test/") for name in trial.metrics)
    assert (base.parameters["generate.max_new_tokens"], base.tags["base_model"]) == (6, "llama")
    assert ("test/base/rouge1" in base.metrics, base.curve, "adapter" in base.links) == (True, {}, False)
    dag.evaluate(resolved, walker.step, store.by_id(trial.id))
    now, *others = (tracked_run(store, source) for source in run_sources(store).values())
    assert "test/tuned/rouge1" in now.metrics
    assert [run.parent for run in others] == [None, trial.id]

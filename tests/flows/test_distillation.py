"""Distillation in the graph: which stages there are, whose keys depend on what, and whole runs with tiny models."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.errors import RequestError, StageError
from artifacts.manifest import Manifest
from artifacts.schemas import CANDIDATES, CURVE, read_table
from flows import adapter_lookup, dag
from flows.champion_settings import missing_overrides
from flows.distillation import distilled_from
from flows.planner import Planner
from flows.recipe import load_recipe
from flows.sweeps.cost import CostPlanner, Estimate
from tasks.config import TrainConfig
from tasks.execution.job import Job, save_job
from tasks.execution.stage import Stage
from tasks.generate import GENERATE
from tasks.manifest_views import AdapterView
from tasks.models import decoder_layers
from tasks.workers.events import NullListener
from tests.support.models import with_stop
from tests.support.pipelines import DagWalker, patch_workers_inline, planned_stages, small_overrides
from tests.support.worker_processes import worker_processes

DISTILL = {"samples": 4, "max_new_tokens": 12, "epsilon": 0, "batch_size": 2, "max_steps": 3}
PREPARED = ["download", "format train", "format eval"]
EVALUATED = ["generate base", "generate tuned", "score", "promote", "report"]


@pytest.fixture
def llama(models: dict[str, Path], tmp_path: Path) -> Path:
    """A model that ends some of its samples."""
    return with_stop(models["llama"], tmp_path / "llama", 30.0)


def overrides_of(model: Path, data: Path, *more: str, **distill: Any) -> list[str]:
    settings = [f"train.distill.{name}={json.dumps(value)}" for name, value in (DISTILL | distill).items()]
    # so small that the model goes on to end some of its samples
    settings.append("train.learning_rate=1e-6")
    return small_overrides("smollm2-135m", model, data, "gate.least_rows=1", *settings, *more)


def keys(overrides: list[str]) -> dict[str, str]:
    """Label of a planned stage -> the id that it would get. Without a store no input is known but by its own id."""
    planner, ids = Planner(), {}

    def step(stage: Any, variant: str | None, spec: Any, **inputs: Any) -> Any:
        planned = planner.step(stage, variant, spec, **inputs)
        ids[planner.entries[-1].label] = planned.id
        return planned

    dag.retrain(dag.resolve_recipe(load_recipe("smollm2-135m", overrides)), step)
    return ids


class AdapterTrained(Exception):  # noqa: N818  # it is no error
    """The walk has trained its adapter."""


def up_to_generate(step: Any, stage: Stage, variant: str | None, spec: Any, **inputs: Any) -> Any:
    """`step`, or AdapterTrained."""
    if stage is GENERATE:
        raise AdapterTrained
    return step(stage, variant, spec, **inputs)


class UpToTheAdapter(DagWalker):
    """Walks until the adapter is trained, and saves its jobs."""

    def step(self, stage: Stage, variant: str | None, spec: Any, **inputs: Any) -> Any:
        return up_to_generate(super().step, stage, variant, spec, **inputs)

    def execute(self, store: Store, stage: Stage, job: Job) -> tuple[Manifest, bool]:
        save_job(store, job)
        return super().execute(store, stage, job)

    def digests(self, overrides: list[str]) -> dict[str, str]:
        """Of the adapters and candidates, by id."""
        with suppress(AdapterTrained):
            self.through(overrides)
        return {m.id: m.digest for m, _ in self.results if m.stage in ("train", "sample")}


def test_stages_of_a_distillation(store: Store, models: dict[str, Path], data: Path) -> None:
    """Without folds the adapter samples for its own rows. Each round samples from the adapter of the one before."""
    llama = models["llama"]
    assert list(planned_stages(overrides_of(llama, data, samples=0))) == [*PREPARED, "train", *EVALUATED]
    assert list(planned_stages(overrides_of(llama, data))) == [
        *PREPARED,
        "train supervised",
        "sample round 1",
        "train",
        *EVALUATED,
    ]
    assert list(planned_stages(overrides_of(llama, data, folds=2, rounds=2))) == [
        *PREPARED,
        "train supervised",
        "train without fold 1 of 2",
        "train without fold 2 of 2",
        "sample fold 1 of 2",
        "sample fold 2 of 2",
        "train round 1",
        "sample round 2",
        "train",
        *EVALUATED,
    ]
    with_seeds = planned_stages(overrides_of(llama, data, "seeds=2"))
    assert {"train seed 1", "train seed 1 supervised", "sample seed 1 round 1"} <= with_seeds.keys()


def test_which_settings_change_which_keys(store: Store, models: dict[str, Path], data: Path) -> None:
    llama = models["llama"]
    plain, distilled = keys(overrides_of(llama, data, samples=0, beta=0.5)), keys(overrides_of(llama, data))
    assert plain == keys(small_overrides("smollm2-135m", llama, data, "gate.least_rows=1", "train.learning_rate=1e-6"))
    assert distilled["train supervised"] == plain["train"]
    assert distilled["train"] != plain["train"]

    def changed(*more: str, **distill: Any) -> set[str]:
        other = keys(overrides_of(llama, data, *more, **distill))
        return {label for label in other if other[label] != distilled.get(label)} - set(EVALUATED)

    for setting in ("reference_weight", "beta", "cross_entropy", "learning_rate", "epochs"):
        assert changed(**{setting: 0.7}) == {"train"}, setting
    assert changed(batch_size=3) == changed(max_steps=7) == {"train"}
    for setting in ("temperature", "epsilon"):
        assert changed(**{setting: 0.3}) == {"sample round 1", "train"}, setting
    assert changed(samples=5) == changed(max_new_tokens=9) == {"sample round 1", "train"}
    assert changed(rounds=2) == {"train round 1", "sample round 2", "train"}  # the first of them has another name only
    assert keys(overrides_of(llama, data, rounds=2))["train round 1"] == distilled["train"]
    assert changed("score.tokenizer=characters") == {"sample round 1", "train"}
    assert changed("train.learning_rate=0.01") == {"train supervised", "sample round 1", "train"}


def test_revision_of_a_recipe_tells_distillations_apart(models: dict[str, Path], data: Path) -> None:
    def revision(**distill: Any) -> str:
        return load_recipe("smollm2-135m", overrides_of(models["llama"], data, **distill)).revision

    plain = small_overrides("smollm2-135m", models["llama"], data, "gate.least_rows=1", "train.learning_rate=1e-6")
    without = load_recipe("smollm2-135m", plain)
    assert revision(samples=0, beta=0.5) == without.revision
    assert len({without.revision, revision(), revision(samples=5), revision(beta=0.5)}) == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.distill.samples=1", "a preference needs two"),
        ("train.lora.dropout=0.1", "lora.dropout is 0.1, but only the packed engine distils"),
        ("train.lora.dora=true", "lora.dora is true, but only the packed engine distils"),
        ("train.engine=trl", "engine is trl, but only the packed engine distils"),
        ("train.max_length=16", "no token is left for the prompt"),
    ],
)
def test_settings_that_make_no_sense_together_are_refused(
    models: dict[str, Path], data: Path, override: str, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        load_recipe("smollm2-135m", [*overrides_of(models["llama"], data, max_new_tokens=20), override])


def test_without_samples_all_other_keys_are_ignored() -> None:
    ignored = TrainConfig.model_validate({"distill": {"beta": 3, "folds": 5, "max_steps": 2}})
    assert ignored == TrainConfig()


@pytest.mark.usefixtures("workers_inline")
def test_a_model_that_cannot_be_distilled_is_refused_before_it_is_trained(
    store: Store, models: dict[str, Path], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder_layers, "NORM_OFFSET", {"gemma": 1.0})
    with pytest.raises(RequestError, match=r"distill.samples is 4.*architecture llama.*set train.distill.samples=0"):
        DagWalker().through(overrides_of(models["llama"], data))
    assert store.manifests("train") == []


@pytest.mark.usefixtures("workers_inline")
def test_a_distilled_adapter_names_what_it_was_made_from(store: Store, llama: Path, data: Path) -> None:
    """In its manifest, its settings, the report; and it is what other commands take as the latest adapter."""
    walker = DagWalker()
    walker.through(overrides_of(llama, data))
    made = {" ".join(filter(None, [m.stage, m.variant])): m for m, _ in walker.results}
    adapter, start, candidates = (made[label] for label in ("train", "train supervised", "sample round 1"))
    assert {role: ref.id for role, ref in adapter.inputs.items()} == {
        "rows": made["format train"].id,
        "adapter": start.id,
        "candidates": candidates.id,
    }
    view, payload = AdapterView(adapter), store.payload(adapter.path)
    settings = json.loads((payload / "settings.json").read_text())
    assert settings["distilled_from"] == {"adapter": start.digest, "candidates": candidates.digest}
    assert settings["preference"]["batch_size"] == view.batch_size == 2
    assert "distilled_from" not in (store.payload(start.path) / "settings.json").read_text()
    facts = view.preference_facts
    assert facts is not None
    table = read_table(store.payload(candidates.path) / "candidates.parquet", CANDIDATES)
    assert facts["pairs"] + facts["same_text"] + facts["unfinished"] == len(table)
    assert adapter.facts["steps"] == 3
    curve = read_table(payload / "curve.parquet", CURVE)
    assert curve[1]["train_loss"] == pytest.approx(0.693, abs=0.01)
    assert curve[-1]["validation_loss"] is not None
    page = (store.payload(made["report"].path) / "report.html").read_text()
    assert all(text in page for text in (start.id, candidates.id, "sample round 1", "prefers the better one in"))
    assert [m.id for m in adapter_lookup.candidates(store)] == [adapter.id]


@pytest.mark.usefixtures("workers_inline")
def test_a_distilled_champion_is_retrained_with_its_distillation(
    store: Store, llama: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its settings as overrides of a recipe without. Its supervised adapter would be retrained without."""
    walker = UpToTheAdapter()
    walker.digests(overrides_of(llama, data, beta=0.3))
    plain = load_recipe("smollm2-135m", overrides_of(llama, data, samples=0))
    resolved = dag.resolve_recipe(plain)
    supervised, distilled = (m for m, _ in walker.results if m.stage == "train")
    assert missing_overrides(resolved.candidate(supervised.id), plain) == []
    needed = missing_overrides(resolved.candidate(distilled.id), plain)
    assert {"train.distill.samples=4", "train.distill.beta=0.3", "train.distill.max_steps=3"} <= {*needed}
    again = load_recipe("smollm2-135m", [*overrides_of(llama, data, samples=0), *needed])
    assert again.train.distill == load_recipe("smollm2-135m", overrides_of(llama, data, beta=0.3)).train.distill


@pytest.mark.usefixtures("workers_inline")
def test_an_evaluation_later_shows_the_same_lineage(store: Store, llama: Path, data: Path) -> None:
    """Of what is still intact."""
    walker = UpToTheAdapter()
    walker.digests(overrides_of(llama, data))
    supervised, candidates, adapter = (m for m, _ in walker.results if m.stage in ("train", "sample"))
    assert [m.id for m in distilled_from(adapter)] == [supervised.id, candidates.id]
    assert distilled_from(supervised) == ()
    (store.payload(candidates.path) / "candidates.parquet").write_bytes(b"damaged")
    assert [m.id for m in distilled_from(adapter)] == [supervised.id]


@pytest.mark.usefixtures("workers_inline")
def test_costs_of_a_distillation_are_predicted_from_one_that_was_measured(
    store: Store, llama: Path, data: Path
) -> None:
    """A sampling by its samples, a preference training by its steps."""
    overrides = overrides_of(llama, data)
    UpToTheAdapter().digests(overrides)

    def predicted(**distill: Any) -> list[Estimate]:
        planner = CostPlanner()
        with suppress(AdapterTrained):
            resolved = dag.resolve_recipe(load_recipe("smollm2-135m", overrides_of(llama, data, **distill)))
            dag.retrain(resolved, lambda stage, *rest, **inputs: up_to_generate(planner.step, stage, *rest, **inputs))
        return [stage.estimate for stage in planner.take_stages()]

    same, more = predicted(), predicted(samples=40)
    assert [estimate.unknown for estimate in (*same, *more)] == [()] * 6
    assert [m.stage for m in (store.by_id(estimate.measured[0]) for estimate in same)] == ["train", "sample", "train"]
    assert more[1].seconds >= same[1].seconds
    assert len({estimate.measured for estimate in same}) == 3


@pytest.mark.usefixtures("workers_inline")
def test_a_recipe_without_distillation_reuses_the_supervised_adapter(store: Store, llama: Path, data: Path) -> None:
    """And then it counts among the adapters of runs."""
    walker = DagWalker()
    walker.through(overrides_of(llama, data))
    trained = len(store.manifests("train"))
    walker.through(overrides_of(llama, data, samples=0))
    assert len(store.manifests("train")) == trained == 2
    assert {m.variant for m in adapter_lookup.candidates(store)} == {None, "supervised"}


class Interrupting(NullListener):
    """Fails once the pairs of a preference training are chosen."""

    def __init__(self) -> None:
        self.armed = True

    def log(self, line: str) -> None:
        if self.armed and "pairs; left out" in line:
            raise StageError("interrupted")


@pytest.mark.slow
@pytest.mark.usefixtures("workers_inline")
def test_folds_and_rounds_give_the_same_bytes_also_after_an_interruption(
    store: Store, llama: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = overrides_of(llama, data, folds=2, rounds=2)
    walker = UpToTheAdapter()
    expected = walker.digests(overrides)
    assert len(expected) == 8
    folds = [m for m, _ in walker.results if m.stage == "sample" and "fold" in str(m.variant)]
    tables = [read_table(store.payload(m.path) / "candidates.parquet", CANDIDATES) for m in folds]
    names = [row["id"] for table in tables for row in table]
    assert len(names) == len(set(names)) == 12
    monkeypatch.setenv("DIALOGSUM_STORE", str(tmp_path / "second"))
    listener = Interrupting()
    with pytest.raises(StageError, match="interrupted"):
        UpToTheAdapter(listener).digests(overrides)
    listener.armed = False
    again = UpToTheAdapter(listener)
    assert again.digests(overrides) == expected
    assert sum(not ran for m, ran in again.results if m.id in expected) == 5


class Killer(NullListener):
    """Sends SIGKILL to the worker that samples, or to the one that trains on pairs, once it reports progress."""

    def __init__(self, module: str) -> None:
        self.module, self.pairs, self.killed = module, False, False

    def log(self, line: str) -> None:
        self.pairs |= "pairs; left out" in line

    def progress(self, done: int, total: int, note: str = "") -> None:
        if self.killed or done < 2 or (self.module == "tasks.training.worker" and not self.pairs):
            return
        for worker in worker_processes(self.module):
            self.killed = True
            worker.kill()


@pytest.mark.slow
@pytest.mark.row(1, "SIGKILL of the processes that sample and that train on pairs")
def test_a_run_whose_workers_are_killed_goes_on_to_the_same_bytes(
    store: Store, llama: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real processes, killed one after the other; a run in an empty store makes the same adapter."""
    overrides = overrides_of(llama, data, max_steps=6)
    for module in ("tasks.sampling.worker", "tasks.training.worker"):
        killer = Killer(module)
        with pytest.raises(StageError, match="SIGKILL"):
            UpToTheAdapter(killer).digests(overrides)
        assert killer.killed
    resumed = UpToTheAdapter().digests(overrides)
    assert len(resumed) == 3
    monkeypatch.setenv("DIALOGSUM_STORE", str(tmp_path / "second"))
    patch_workers_inline(monkeypatch)
    assert UpToTheAdapter().digests(overrides) == resumed

"""The real flows, made short: overrides that let a recipe run in seconds, and workers called in this process."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest
from artifacts.record import Record
from artifacts.refs import Ref
from artifacts.schemas import FORMATTED_EVAL, read_table
from flows.run_summary import RunSummary
from tasks.decoding.part_files import save_part
from tasks.decoding.worker_records import Measurements
from tasks.execution.decision import decide
from tasks.execution.executor import execute
from tasks.execution.job import Job
from tasks.execution.stage import Stage
from tasks.workers.events import Events, NullListener
from tests.support.data import read_csv, write_csv


def small_overrides(recipe: str, model: Path, data: Path, *more: str) -> list[str]:
    """Overrides that make a real recipe run in seconds: tiny model, tiny data, two steps."""
    turns = "gemma" if model.name == "gemma" else "chatml"
    return [
        f"model.source={model}",
        f"data.source={data}",
        f"model.turns={turns}",
        "train.max_steps=2",
        "train.batch_size=4",
        "train.max_length=256",
        "train.lora.rank=4",
        "train.evaluations=1",
        "generate.max_new_tokens=6",
        "generate.candidates=1",
        "score.bootstrap_resamples=200",
        "probe.dialogues=0",
        "runtime.device=cpu",
        "runtime.threads=1",
        *more,
    ]


def run_workers_inline(
    module: str, configs: Any, result_type: Any, folder: Path, events: Any, environments: Any = (), launch: Any = ()
) -> list[Any]:
    """`run_workers`, but in this process, which imports torch once. Configs and results pass through JSON."""
    run, results = importlib.import_module(module).run, []
    for config in configs:
        copied = type(config).model_validate(json.loads(json.dumps(config.model_dump(mode="json"))))
        results.append(result_type.model_validate(json.loads(json.dumps(run(copied, events).model_dump(mode="json")))))
    return results


def patch_workers_inline(patch: pytest.MonkeyPatch) -> None:
    """Run the workers of stages in this process; tests/system/test_quickstart.py runs real ones."""
    from tasks import generate, judge, probe, sample, train

    for stage in (train, sample, generate, probe, judge):
        patch.setattr(stage, "run_workers", run_workers_inline)


SUMMARY = "alpha beta gamma delta epsilon zeta eta theta iota kappa"
MEASUREMENTS = Measurements(
    device="CPU",
    dtype="float32",
    batch=1,
    loading_seconds=0,
    generating_seconds=0,
    decoding_seconds=0,
    recording_seconds=0,
    choosing_seconds=0,
    tokens=1,
    tokens_per_second=None,
    halved=0,
    peak_gib=None,
)


def patch_known_summaries(patch: pytest.MonkeyPatch, data: Path) -> None:
    """Make scores predictable: of 10 words of every reference the base writes 3, an adapter 4 + rank + seed.

    The adapters themselves are trained for real.
    """
    from tasks import generate

    for split in ("validation", "test"):
        rows = read_csv(data / f"{split}.csv")
        write_csv(data / f"{split}.csv", [row | {"summary": SUMMARY} for row in rows])

    def workers(module: str, configs: Any, result_type: Any, *rest: Any) -> list[Measurements]:
        words, config = 3, configs[0]
        if config.adapter:
            train = json.loads((config.adapter / "settings.json").read_text())["train"]
            words = 4 + train["lora"]["rank"] + train["seed"]
        text = " ".join(SUMMARY.split()[:words])
        ids = [row["id"] for row in read_table(config.rows / "prompts.parquet", FORMATTED_EVAL)]
        config.parts.mkdir()
        predictions = [{"id": name, "prediction": text, "tokens": 1, "stop": "stop_token"} for name in ids]
        save_part(predictions, config.parts)
        return [MEASUREMENTS]

    patch.setattr(generate, "run_workers", workers)


def expected_f1(words: int) -> float:
    """F1 x 100 of a summary with so many of the ten words: precision 1, recall words / 10."""
    return 100 * 2 * (words / 10) / (1 + words / 10)


def flow_caller(llama: Path, data: Path) -> Callable[..., dict[str, Any]]:
    """Returns `run("retrain", rank, overrides…, adapter=…)`, which runs a real flow with the tiny llama."""

    def overrides(rank: int, *more: str) -> list[str]:
        return small_overrides("smollm2-135m", llama, data, "gate.least_rows=1", f"train.lora.rank={rank}", *more)

    def call(flow: str, rank: int, *more: str, **options: Any) -> dict[str, Any]:
        from flows import pipeline
        from flows.cli.pipeline_commands import rollback

        settings = overrides(rank, *more)
        if flow == "rollback":
            rollback("smollm2-135m", settings, as_json=True)
            return {}
        result = getattr(pipeline, flow)(recipe="smollm2-135m", overrides=settings, **options)
        return result.to_json() if isinstance(result, RunSummary) else result

    call.overrides, call.llama = overrides, llama  # type: ignore[attr-defined]
    return call


def stage_entry(summary: dict[str, Any], stage: str, variant: str | None = None) -> dict[str, Any]:
    entries: list[dict[str, Any]] = [e for e in summary["stages"] if (e["stage"], e["of"]) == (stage, variant)]
    assert len(entries) == 1
    return entries[0]


def adapter_id(summary: dict[str, Any]) -> str:
    return str(stage_entry(summary, "train")["artifact"])


def stages_run(summary: dict[str, Any]) -> list[str]:
    return [" ".join(filter(None, [e["stage"], e["of"]])) for e in summary["stages"] if e["status"] == "run"]


def planned_stages(overrides: list[str]) -> dict[str, dict[str, Any]]:
    """The entries of a plan by stage and, where a stage occurs twice, by what it is for."""
    from flows import dag
    from flows.planner import Planner
    from flows.recipe import load_recipe

    planner = Planner()
    dag.retrain(dag.resolve_recipe(load_recipe("smollm2-135m", overrides)), planner.step)
    return {entry.label: entry.to_json() for entry in planner.entries}


class DagWalker:
    """Runs the DAG without Prefect: decides and performs every stage in this process."""

    def __init__(self, events: Events | None = None) -> None:
        self.events, self.results = events or NullListener(), list[tuple[Manifest, bool]]()

    def step(self, stage: Stage, variant: str | None, spec: Record, **inputs_by_role: Any) -> Ref:
        inputs = {role: ref if isinstance(ref, Ref) else Ref.of_manifest(ref) for role, ref in inputs_by_role.items()}
        identity = decide(Store.current(), stage, variant, spec, inputs).identity
        job = Job(
            stage=stage.name,
            variant=variant,
            spec=spec,
            inputs=inputs,
            identity=identity,
            run="walk",
            runtime={"device": "cpu"},  # type: ignore[arg-type]
        )
        self.results.append(self.execute(Store.current(), stage, job))
        return Ref.of_manifest(self.results[-1][0])

    def execute(self, store: Store, stage: Stage, job: Job) -> tuple[Manifest, bool]:
        return execute(store, stage, job, self.events)

    def through(self, overrides: list[str]) -> None:
        from flows import dag
        from flows.recipe import load_recipe

        dag.retrain(dag.resolve_recipe(load_recipe("smollm2-135m", overrides)), self.step)


def set_options(overrides: list[str]) -> list[str]:
    """The recipe and its overrides as arguments of the command line."""
    return ["smollm2-135m", *[word for setting in overrides for word in ("--set", setting)]]

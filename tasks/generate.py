"""generate: formatted eval rows, a base model and an adapter or none -> predictions.

Reads   rows (format, eval); adapter (train) or none
Writes  predictions.parquet (artifacts.schemas.PREDICTIONS), in the order of the rows
Rerun   dialogsum run RECIPE --refresh generate

The work is done by tasks/decoding/worker.py in processes of their own, one per GPU. They save every batch, so a run
that was killed resumes at the batch it had reached. The rows alone decide the batches: neither the number of GPUs nor
the number of machines that share the work changes a byte.
"""

from statistics import fmean
from typing import Any

from artifacts.errors import StageError
from artifacts.schemas import FORMATTED_EVAL, PREDICTIONS, read_table, write_table
from tasks.config import GenerateSpec
from tasks.decoding.batching import batch_count, batch_size
from tasks.decoding.part_files import read_parts
from tasks.decoding.worker_records import DecodingWorkerConfig, Measurements
from tasks.execution.stage import Artifact, Context, Stage, StageResult
from tasks.workers.gpus import visible_gpus, worker_environments
from tasks.workers.launcher import run_workers

WORKER = "tasks.decoding.worker"


def generate(spec: GenerateSpec, context: Context, rows: Artifact, adapter: Artifact | None = None) -> StageResult:
    """Predict a summary for the first `limit` rows. Predictions that are in `work/parts` already are reused."""
    folder = context.work / "parts"
    row_ids = [row["id"] for row in read_table(rows.payload / "prompts.parquet", FORMATTED_EVAL)][: spec.generate.limit]
    if set(row_ids) - {row["id"] for row in read_parts(folder)}:
        measured = predict(spec, context, rows, adapter)
    else:  # the machines that shared the work have measured it
        shards = [Measurements.model_validate_json(file.read_text()) for file in sorted(folder.glob("*.json"))]
        measured = Measurements.merge(shards).model_dump() if shards else {}
    by_id = {row["id"]: row for row in read_parts(folder)}
    if missing := [row_id for row_id in row_ids if row_id not in by_id]:
        raise StageError(f"{len(missing)} of {len(row_ids)} rows have no prediction, the first is {missing[0]!r}")
    predictions = [by_id[row_id] for row_id in row_ids]
    write_table(predictions, PREDICTIONS, context.out / "predictions.parquet")
    return StageResult(rows=len(predictions), facts=_facts(predictions), measured=measured)


def predict(spec: GenerateSpec, context: Context, rows: Artifact, adapter: Artifact | None = None) -> dict[str, Any]:
    """Write the predictions of one shard to `work/parts`: batches n, n + k, … where (n, k) is `context.shard`.

    Returns its measurements.
    """
    number, machines = context.shard.index, context.shard.count
    runtime, row_count = context.runtime, min(rows.manifest.rows, spec.generate.limit or rows.manifest.rows)
    size = batch_size(runtime, "cuda" if runtime.device != "cpu" and visible_gpus() else "cpu")
    environments = worker_environments(runtime.device, runtime.gpus, batch_count(-(-row_count // machines), size))
    processes = len(environments)
    configs = [
        DecodingWorkerConfig(
            spec=spec,
            runtime=runtime,
            rows=rows.payload,
            adapter=adapter.payload if adapter else None,
            parts=context.work / "parts",
            shard=number + machines * process,
            shards=machines * processes,
            processes=processes,
        )
        for process in range(processes)
    ]
    measurements = run_workers(WORKER, configs, Measurements, context.work, context.events, environments)
    return Measurements.merge(measurements).model_dump()


def _facts(predictions: list[dict[str, Any]]) -> dict[str, Any]:
    at_limit = sum(row["stop"] == "limit" for row in predictions)
    return {"mean_tokens": round(fmean(row["tokens"] for row in predictions), 2), "at_limit": at_limit}


def _label(spec: GenerateSpec) -> str:
    settings = spec.generate
    decoding = f" beam{settings.beams}" if settings.beams > 1 else ""
    decoding += f" of{settings.candidates}" if settings.candidates > 1 else ""
    return f"{spec.model.name}{decoding}"


GENERATE = Stage(
    name="generate",
    version=1,
    function=generate,
    spec=GenerateSpec,
    label=_label,
    pool="gpu",
    worker=WORKER,
    run_shard=predict,
)

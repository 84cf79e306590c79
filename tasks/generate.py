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

from artifacts.schemas import FORMATTED_EVAL, PREDICTIONS, read_table, write_table
from tasks.config import GenerateSpec
from tasks.decoding.worker_records import DecodingWorkerConfig, Measurements
from tasks.decoding_shards import collect_rows, shard_configs
from tasks.execution.stage import Artifact, Context, Stage, StageResult
from tasks.workers.launcher import run_workers

WORKER = "tasks.decoding.worker"


def generate(spec: GenerateSpec, context: Context, rows: Artifact, adapter: Artifact | None = None) -> StageResult:
    """Predict a summary for the first `limit` rows. Predictions that are in `work/parts` already are reused."""
    row_ids = [row["id"] for row in read_table(rows.payload / "prompts.parquet", FORMATTED_EVAL)][: spec.generate.limit]
    predictions, measured = collect_rows(row_ids, PREDICTIONS, context, lambda: predict(spec, context, rows, adapter))
    write_table(predictions, PREDICTIONS, context.out / "predictions.parquet")
    return StageResult(rows=len(predictions), facts=_facts(spec, predictions), measured=measured)


def predict(spec: GenerateSpec, context: Context, rows: Artifact, adapter: Artifact | None = None) -> dict[str, Any]:
    """Write the predictions of one shard to `work/parts`: batches n, n + k, … where (n, k) is `context.shard`.

    Returns its measurements.
    """
    row_count = min(rows.manifest.rows, spec.generate.limit or rows.manifest.rows)
    configs, environments = shard_configs(DecodingWorkerConfig, spec, context, rows, adapter, row_count)
    measurements = run_workers(WORKER, configs, Measurements, context.work, context.events, environments)
    return Measurements.merge(measurements).model_dump()


def _facts(spec: GenerateSpec, predictions: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "mean_tokens": round(fmean(row["tokens"] for row in predictions), 2),
        "at_limit": sum(row["stop"] == "limit" for row in predictions),
        "quantization": spec.generate.quantization,
    }


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

"""generate: formatted eval rows, a base model and an adapter or none -> predictions.

Reads   rows (format, eval); adapter (train) or none
Writes  predictions.parquet (artifacts.schemas.PREDICTIONS), in the order of the rows
Rerun   dialogsum run RECIPE --refresh generate

The work is done by tasks/decoding/worker.py in processes of their own, one a GPU. They save every batch, so a run that was
killed goes on at the batch it had reached. Batches are decided by the rows alone: neither the number of GPUs nor that of
the machines that share the work changes a byte.
"""

import hashlib
import json
from pathlib import Path
from statistics import fmean
from typing import Any

from artifacts.backend import sha256_of
from artifacts.errors import RequestError, StageError
from artifacts.schemas import FORMATTED_EVAL, PREDICTIONS, read_table, write_table
from tasks.config import GenerateSpec, Runtime
from tasks.decoding.batching import batch_size, count
from tasks.execution.stage import Artifact, Context, Done, Stage
from tasks.workers.gpus import gpu_names
from tasks.workers.launcher import run_workers


def generate(spec: GenerateSpec, context: Context, rows: Artifact, adapter: Artifact | None = None) -> Done:
    """Predict a summary for the first `limit` rows; those that are in `work/parts` are taken from there."""
    wanted, folder = _wanted(spec, rows), context.work / "parts"
    if set(wanted) - {row["id"] for row in read_parts(folder)}:
        measured = predict(spec, context, rows, adapter)
    else:  # by the machines that shared the work
        measured = _together([json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))] or [{}])
    made = {row["id"]: row for row in read_parts(folder)}
    if missing := [name for name in wanted if name not in made]:
        raise StageError(f"{len(missing)} of {len(wanted)} rows have no prediction, the first is {missing[0]!r}")
    predictions = [made[name] for name in wanted]
    write_table(predictions, PREDICTIONS, context.out / "predictions.parquet")
    return Done(rows=len(predictions), facts=_facts(predictions), measured=measured)


def predict(spec: GenerateSpec, context: Context, rows: Artifact, adapter: Artifact | None = None) -> dict[str, Any]:
    """Leave predictions in `work/parts`, every k-th batch from the n-th where (n, k) is `share`. Returns measurements."""
    number, machines = context.share
    environments = shards(context.runtime, -(-len(_wanted(spec, rows)) // machines))
    config = {
        "spec": spec.model_dump(mode="json"),
        "runtime": context.runtime.model_dump(mode="json"),
        "rows": str(rows.payload),
        "adapter": str(adapter.payload) if adapter else None,
        "parts": str(context.work / "parts"),
        "shards": machines * len(environments),
        "processes": len(environments),
    }
    configs = [config | {"shard": number + machines * process} for process in range(len(environments))]
    return _together(run_workers(["-m", "tasks.decoding.worker"], configs, context.work, context.events, environments))


def _wanted(spec: GenerateSpec, rows: Artifact) -> list[str]:
    return [row["id"] for row in read_table(rows.payload / "test.parquet", FORMATTED_EVAL)][: spec.generate.limit]


def shards(runtime: Runtime, rows: int) -> list[dict[str, str]]:
    """The environment of each worker: one a GPU, none without a batch. RequestError if there are fewer GPUs."""
    gpus = [] if runtime.device == "cpu" else gpu_names()
    wanted = max(1, len(gpus) if runtime.gpus is None else runtime.gpus)
    if gpus and wanted > len(gpus):
        raise RequestError(f"runtime.gpus is {wanted}, but {len(gpus)} can be seen here")
    useful = min(wanted, max(1, count(rows, batch_size(runtime, "cuda" if gpus else "cpu"))))
    return [{"CUDA_VISIBLE_DEVICES": gpus[i]} for i in range(useful)] if gpus and useful > 1 else [{}] * useful


def save_part(predictions: list[dict[str, Any]], folder: Path) -> None:
    """One file a batch, whole or not at all; its name has its digest, for nothing else seals it before the artifact is made."""
    name = hashlib.sha256("\n".join(row["id"] for row in predictions).encode()).hexdigest()[:16]
    half = folder / f"{name}.half"
    write_table(predictions, PREDICTIONS, half)
    half.rename(folder / f"{name}-{sha256_of(half)[:16]}.parquet")


def read_parts(folder: Path) -> list[dict[str, Any]]:
    """Predictions of the batches that are finished; a damaged file counts for nothing, so its rows are made again."""
    files = sorted(folder.glob("*.parquet"))
    whole = [file for file in files if file.stem.endswith(f"-{sha256_of(file)[:16]}")]
    return [row for file in whole for row in read_table(file, PREDICTIONS)]


def _together(measured: list[dict[str, Any]]) -> dict[str, Any]:
    """Measurements of all workers: sums of what adds up, the largest of what happens at once."""
    whole = dict(measured[0]) | {"processes": len(measured)}
    for name, value in whole.items():
        values = [found[name] for found in measured if found.get(name) is not None]
        if name.endswith("_seconds") or name == "peak_gib":
            whole[name] = max(values, default=None)
        elif name in ("tokens", "halved") or name == "tokens_per_second":
            whole[name] = round(sum(values), 1) if values else value
    return whole


def _facts(predictions: list[dict[str, Any]]) -> dict[str, Any]:
    at_limit = sum(row["stop"] == "limit" for row in predictions)
    return {"mean_tokens": round(fmean(row["tokens"] for row in predictions), 2), "at_limit": at_limit}


def _label(spec: GenerateSpec) -> str:
    settings = spec.generate
    decoding = f" beam{settings.beams}" if settings.beams > 1 else ""
    decoding += f" of{settings.candidates}" if settings.candidates > 1 else ""
    return f"{spec.model.name}{decoding}"


GENERATE = Stage(
    name="generate", version=1, function=generate, spec=GenerateSpec, label=_label, pool="gpu",
    worker="tasks.decoding.worker",
    share=predict,
)  # fmt: skip

"""generate: formatted eval rows, a base model and an adapter or none -> predictions.

Reads   rows (format, eval); adapter (train) or none
Writes  predictions.parquet (artifacts.schemas.PREDICTIONS), in the order of the rows
Rerun   dialogsum run RECIPE --refresh generate

The work is done by tasks/generate_worker.py in a process of its own, one a GPU. It saves every batch, so a run that was
killed goes on at the batch it had reached.
"""

from pathlib import Path
from statistics import fmean
from typing import Any

from artifacts.errors import StageError
from artifacts.schemas import FORMATTED_EVAL, PREDICTIONS, read_table, write_table
from tasks.config import GenerateSpec
from tasks.launch import run_worker
from tasks.stage import Artifact, Context, Done, Stage


def generate(spec: GenerateSpec, context: Context, rows: Artifact, adapter: Artifact | None = None) -> Done:
    """Predict a summary for the first `limit` rows."""
    config = {
        "spec": spec.model_dump(mode="json"),
        "runtime": context.runtime.model_dump(mode="json"),
        "rows": str(rows.payload),
        "adapter": str(adapter.payload) if adapter else None,
        "parts": str(context.work / "parts"),
    }
    measured = run_worker(["-m", "tasks.generate_worker"], config, context.work, context.events)
    wanted = [row["id"] for row in read_table(rows.payload / "test.parquet", FORMATTED_EVAL)][: spec.generate.limit]
    made = {row["id"]: row for row in read_parts(context.work / "parts")}
    if missing := [name for name in wanted if name not in made]:
        raise StageError(f"{len(missing)} of {len(wanted)} rows have no prediction, the first is {missing[0]!r}")
    predictions = [made[name] for name in wanted]
    write_table(predictions, PREDICTIONS, context.out / "predictions.parquet")
    return Done(rows=len(predictions), facts=_facts(predictions), measured=measured)


def read_parts(folder: Path) -> list[dict[str, Any]]:
    """Predictions of the batches that are finished."""
    return [row for file in sorted(folder.glob("*.parquet")) for row in read_table(file, PREDICTIONS)]


def _facts(predictions: list[dict[str, Any]]) -> dict[str, Any]:
    at_limit = sum(row["stop"] == "limit" for row in predictions)
    return {"mean_tokens": round(fmean(row["tokens"] for row in predictions), 2), "at_limit": at_limit}


def _label(spec: GenerateSpec) -> str:
    decoding = f" beam{spec.generate.beams}" if spec.generate.beams > 1 else ""
    return f"{spec.model.name}{decoding}"


GENERATE = Stage(
    name="generate", version=1, function=generate, spec=GenerateSpec, label=_label, pool="gpu",
    worker="tasks.generate_worker",
)  # fmt: skip

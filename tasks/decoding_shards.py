"""What the stages that decode share: how rows are divided among processes and machines, and put together again."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from artifacts.errors import StageError
from tasks.config import GenerateSpec, SampleSpec
from tasks.decoding.batching import batch_count, batch_size
from tasks.decoding.part_files import read_parts
from tasks.decoding.worker_records import Measurements, ShardConfig
from tasks.execution.stage import Artifact, Context
from tasks.workers.gpus import visible_gpus, worker_environments

ConfigT = TypeVar("ConfigT", bound=ShardConfig)


def shard_configs(
    config_type: type[ConfigT],
    spec: GenerateSpec | SampleSpec,
    context: Context,
    rows: Artifact,
    adapter: Artifact | None,
    row_count: int,
) -> tuple[list[ConfigT], list[dict[str, str]]]:
    """Config and environment of each process of this machine.

    Together they do the batches n, n + k, … of `row_count` rows, where (n, k) is `context.shard`.
    """
    number, machines, runtime = context.shard.index, context.shard.count, context.runtime
    device = "cuda" if runtime.device != "cpu" and visible_gpus() else "cpu"
    size = batch_size(runtime, device, spec.generate.candidates)
    environments = worker_environments(runtime.device, runtime.gpus, batch_count(-(-row_count // machines), size))
    processes = len(environments)
    configs = [
        config_type.model_validate(
            {
                "spec": spec,
                "runtime": runtime,
                "rows": rows.payload,
                "adapter": adapter.payload if adapter else None,
                "parts": context.work / "parts",
                "shard": number + machines * process,
                "shards": machines * processes,
                "processes": processes,
            }
        )
        for process in range(processes)
    ]
    return configs, environments


def collect_rows(
    ids: Sequence[str], schema: pa.Schema, context: Context, decode: Callable[[], dict[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The decoded row of each of `ids`, and the measurements. Rows that are in `work/parts` already are reused.

    decode: writes the missing ones there and returns its measurements.
    """
    folder = context.work / "parts"
    if set(ids) - {row["id"] for row in read_parts(folder, schema)}:
        measured = decode()
    else:  # the machines that shared the work have measured it
        shards = [Measurements.model_validate_json(file.read_text()) for file in sorted(folder.glob("*.json"))]
        measured = Measurements.merge(shards).model_dump() if shards else {}
    by_id = {row["id"]: row for row in read_parts(folder, schema)}
    if missing := [name for name in ids if name not in by_id]:
        raise StageError(f"{len(missing)} of {len(ids)} rows were not decoded, the first is {missing[0]!r}")
    return [by_id[name] for name in ids], measured

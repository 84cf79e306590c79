"""summarize: a table of dialogues, a base model and an adapter or none -> the same table with summaries.

No stage: its rows are a user's own, and what comes out lies where the user says, not in the store. The work is done by
tasks/summarization/worker.py, one process a GPU, chunk by chunk. A chunk that is finished is kept, so the same request goes on
where a killed one had come to. No more than a chunk is in memory.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from artifacts.artifact_store import Store
from artifacts.backend import sha256_of
from artifacts.cache_key import identity_of, sha256
from artifacts.code_fingerprint import fingerprint
from artifacts.errors import RequestError, StageError, one_line
from artifacts.manifest import Record
from artifacts.schemas import read_table
from tasks.config import Runtime, SummarizeSpec
from tasks.decoding.batching import batch_size, count
from tasks.summarization.table_files import OUTPUT_COLUMNS, Table, free_names
from tasks.summarization.worker_records import SummarizationResult, SummarizationWorkerConfig
from tasks.workers.events import Events
from tasks.workers.gpus import visible_gpus, worker_environments
from tasks.workers.launcher import run_workers

PART = pa.schema([field for field in OUTPUT_COLUMNS if field.name != "model"])
"""Columns of a finished chunk."""
BATCHES = 4
"""Batches of a chunk: what is lost when the process is killed."""


class Summaries(Record):
    """What came out."""

    rows: int
    stops: dict[str, int]
    """How many rows ended how: `stop_token`, `limit`, `… (3 parts)`, `skipped: …`."""
    kept: int
    """Rows that an earlier run had made."""
    seconds: float
    """Of the slowest process, model loading apart."""


def summarize(
    spec: SummarizeSpec, table: Table, column: str, out: Path, adapter: Path | None, model: str, runtime: Runtime,
    events: Events,
) -> Summaries:  # fmt: skip
    """Write the table with summaries to `out`, whole or not at all.

    column: with the dialogues.
    adapter: folder with adapter_config.json and adapter_model.safetensors, or None for the base model alone.
    model: what the column `model` says.
    """
    file, before = table.file, table.file.stat()
    device = "cuda" if runtime.device != "cpu" and visible_gpus() else "cpu"
    chunk = BATCHES * batch_size(runtime, device)
    weights = [sha256_of(path) for path in sorted(adapter.glob("adapter_*"))] if adapter else None
    key = sha256({
        "spec": identity_of(spec), "adapter": weights, "file": sha256_of(file), "column": column, "chunk": chunk,
        "code": fingerprint("tasks.summarization.worker"),
    })  # fmt: skip
    with Store.current().alone("summarize", key) as scratch:
        parts = scratch / "parts"
        parts.mkdir(exist_ok=True)
        numbers = range(-(-table.rows // chunk))
        todo = sum(not part(parts, number).exists() for number in numbers)
        kept, measured = min(table.rows, (len(numbers) - todo) * chunk), list[SummarizationResult]()
        if kept:
            events.log(f"{kept} of {table.rows} rows were summarized before the last run ended; going on")
        if todo:
            size = batch_size(runtime, device)
            environments = worker_environments(runtime.device, runtime.gpus, count(table.rows, size))[: len(numbers)]
            configs = [
                SummarizationWorkerConfig(
                    spec=spec, runtime=runtime, file=file.resolve(), column=column, parts=parts, chunk=chunk,
                    adapter=adapter.resolve() if adapter else None, shard=shard, shards=len(environments),
                )
                for shard in range(len(environments))
            ]  # fmt: skip
            module = "tasks.summarization.worker"
            measured = run_workers(module, configs, SummarizationResult, scratch, events, environments)
        after = file.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise StageError(f"{file} was changed while it was summarized: run again")
        stops: Counter[str] = Counter()
        _write(table, out, (_counted(row, stops, model) for number in numbers for row in read_table(part(parts, number), PART)))  # fmt: skip
        shutil.rmtree(scratch, ignore_errors=True)
    slowest = max((one.seconds for one in measured), default=0.0)
    return Summaries(rows=table.rows, stops=dict(stops.most_common()), kept=kept, seconds=slowest)


def part(folder: Path, number: int) -> Path:
    """File of a finished chunk."""
    return folder / f"{number:08d}.parquet"


def chunks(values: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Lists of `size` values; the last may be shorter."""
    rest = iter(values)
    while found := list(islice(rest, size)):
        yield found


def _counted(row: dict[str, Any], stops: Counter[str], model: str) -> tuple[Any, ...]:
    stops[row["stop"]] += 1
    return row["summary"], row["tokens"], row["stop"], model


def _write(table: Table, out: Path, added: Iterable[tuple[Any, ...]]) -> None:
    """The table with its summaries, through a sibling that is renamed when all of it is on the disk."""
    half = out.with_name(f".{out.name}.{os.getpid()}.half")
    try:
        table.write(half, free_names(table.columns), added)
        with half.open("rb") as f:
            os.fsync(f.fileno())
        half.replace(out)
    except OSError as error:
        raise RequestError(
            f"{out} cannot be written ({one_line(error, 120)}): give another place with --out"
        ) from error
    finally:
        half.unlink(missing_ok=True)

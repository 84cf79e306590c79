"""A table of dialogues, a base model and an adapter or none -> the same table with summaries.

Not a stage: the rows are a user's own, and the result goes to a file that the user names, not into the store. Worker
processes (tasks/summarization/worker.py), one per GPU, summarize the table chunk by chunk. Finished chunks are kept
until the table is written, so the same request resumes after a crash. Only one chunk at a time is in memory.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from artifacts.artifact_store import Store
from artifacts.atomic_files import sha256_of
from artifacts.cache_key import identity_of, sha256
from artifacts.code_fingerprint import fingerprint
from artifacts.errors import RequestError, StageError
from artifacts.record import Record
from artifacts.schemas import read_table
from artifacts.text import one_line
from tasks.decoding.batching import batch_count, batch_size
from tasks.summarization.chunk_files import CHUNK_COLUMNS, chunk_file
from tasks.summarization.request import SelectedModel
from tasks.summarization.table_files import Table, free_names
from tasks.summarization.worker_records import SummarizationResult, SummarizationWorkerConfig
from tasks.workers.events import Events
from tasks.workers.gpus import visible_gpus, worker_environments
from tasks.workers.launcher import run_workers

BATCHES_PER_CHUNK = 4
"""A killed process loses at most this many batches."""


class TableResult(Record):
    """How a table was summarized."""

    rows: int
    stops: dict[str, int]
    """Number of rows by `stop`: `stop_token`, `limit`, `… (3 parts)`, `skipped: …`."""
    resumed_rows: int = Field(serialization_alias="kept")
    """Rows that an earlier, interrupted run had summarized."""
    seconds: float
    """Time of the slowest process, without loading the model."""


def summarize_table(
    model: SelectedModel, table: Table, column: str, out: Path, events: Events, format: str | None = None
) -> TableResult:
    """Write the table with summaries to `out`, completely or not at all.

    column: holds the dialogues. format: of the dialogues; detected for each if None.
    """
    modified = _modification(table.file)
    device = "cuda" if model.runtime.device != "cpu" and visible_gpus() else "cpu"
    size = batch_size(model.runtime, device, model.spec.generate.candidates)
    chunk_rows = BATCHES_PER_CHUNK * size
    with Store.current().lock("summarize", _request_key(model, table, column, format, chunk_rows)) as scratch:
        folder = scratch / "parts"
        folder.mkdir(exist_ok=True)
        files = [chunk_file(folder, number) for number in range(-(-table.rows // chunk_rows))]
        missing = sum(not file.exists() for file in files)
        resumed_rows, results = min(table.rows, (len(files) - missing) * chunk_rows), list[SummarizationResult]()
        if resumed_rows:
            events.log(f"resuming: {resumed_rows} of {table.rows} rows are already summarized")
        if missing:
            environments = worker_environments(model.runtime.device, model.runtime.gpus, batch_count(table.rows, size))
            environments = environments[: len(files)]
            configs = [
                SummarizationWorkerConfig(
                    spec=model.spec,
                    runtime=model.runtime,
                    file=table.file.resolve(),
                    column=column,
                    format=format,
                    adapter=model.adapter.resolve() if model.adapter else None,
                    parts=folder,
                    chunk=chunk_rows,
                    shard=shard,
                    shards=len(environments),
                )
                for shard in range(len(environments))
            ]
            module = "tasks.summarization.worker"
            results = run_workers(module, configs, SummarizationResult, scratch, events, environments)
        if _modification(table.file) != modified:
            raise StageError(f"{table.file} changed while it was summarized: run again")
        stops: Counter[str] = Counter()
        _write(table, out, _output_rows(files, model.name, stops))
        shutil.rmtree(scratch, ignore_errors=True)
    seconds = max((result.seconds for result in results), default=0.0)
    return TableResult(rows=table.rows, stops=dict(stops.most_common()), resumed_rows=resumed_rows, seconds=seconds)


def _request_key(model: SelectedModel, table: Table, column: str, format: str | None, chunk_rows: int) -> str:
    """Equal for requests whose chunks are the same."""
    weights = [sha256_of(path) for path in sorted(model.adapter.glob("adapter_*"))] if model.adapter else None
    return sha256(
        {
            "spec": identity_of(model.spec),
            "adapter": weights,
            "file": sha256_of(table.file),
            "column": column,
            "format": format,
            "chunk": chunk_rows,
            "code": fingerprint("tasks.summarization.worker"),
        }
    )


def _modification(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def _output_rows(files: Iterable[Path], model: str, stops: Counter[str]) -> Iterator[tuple[Any, ...]]:
    """Values of the added columns, row by row; counts `stop` on the way."""
    for file in files:
        for row in read_table(file, CHUNK_COLUMNS):
            stops[row["stop"]] += 1
            yield row["summary"], row["tokens"], row["stop"], model


def _write(table: Table, out: Path, added: Iterable[tuple[Any, ...]]) -> None:
    """Write the table with its summaries, through a temporary file that is renamed once all of it is on disk."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.half")
    try:
        table.write(temporary, free_names(table.columns), added)
        with temporary.open("rb") as f:
            os.fsync(f.fileno())
        temporary.replace(out)
    except OSError as error:
        raise RequestError(f"{out} cannot be written ({one_line(error, 120)}): name another file with --out") from error
    finally:
        temporary.unlink(missing_ok=True)

"""Sharding: several machines make the parts of one artifact and share them through the store. Imports no Prefect.

<store>/parts/<stage>-<key>/…   files of the parts; <index>-of-<count>.json is written last, with measurements
"""

import json
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

from artifacts.artifact_store import Store
from artifacts.check import Check
from tasks.execution.job import Job, intact_artifact, load_inputs
from tasks.execution.stage import Context, Shard, Stage
from tasks.execution.stage_lease import hold_stage
from tasks.workers.events import Events


def check(store: Store, stage: Stage, job: Job, events: Events) -> list[Check]:
    """What the stage finds on the CPU before a GPU is used."""
    if stage.check is None:
        return []
    with TemporaryDirectory() as folder:
        context = Context(Path(folder), Path(folder), job.runtime, events)
        return stage.check(job.spec, context, **load_inputs(store, job))


def shard_done_file(shard: Shard) -> str:
    """Name of the file whose presence means that a shard is finished."""
    return f"{shard.index}-of-{shard.count}.json"


def parts_folder(job: Job) -> tuple[str, str]:
    """Where in the store the machines leave their parts of a job."""
    return "parts", f"{job.stage}-{job.key}"


def missing_shards(store: Store, job: Job, count: int) -> list[Shard]:
    """Those of `count` shards of a job that are not finished."""
    finished = store.side_files.names(*parts_folder(job))
    return [shard for shard in (Shard(i, count) for i in range(count)) if shard_done_file(shard) not in finished]


def fetch_parts(store: Store, job: Job, work: Path) -> None:
    """Copy the parts that other machines made to `work/parts`."""
    for name in store.side_files.names(*parts_folder(job)):
        if (content := store.side_files.read(*parts_folder(job), name)) is not None:
            (work / "parts").mkdir(exist_ok=True)
            (work / "parts" / name).write_bytes(content)


def execute_shard(
    store: Store, stage: Stage, job: Job, shard: Shard, events: Events, gpu_lease: AbstractContextManager[None]
) -> None:
    """Do one shard of a job while holding `gpu_lease`, and put its parts into the store."""
    assert stage.run_shard is not None
    part = f"{job.key}-{shard_done_file(shard)}"
    with hold_stage(store, stage.name, part, job.run, events.log) as scratch:
        if shard_done_file(shard) in store.side_files.names(*parts_folder(job)):
            return
        if intact_artifact(store, stage, job):  # another run has merged the parts and removed them
            return
        (scratch / "work").mkdir(exist_ok=True)
        context = Context(scratch / "out", scratch / "work", job.runtime, events, shard)
        fetch_parts(store, job, context.work)  # also those of a run with another number of shards
        inputs = load_inputs(store, job)
        with gpu_lease:
            measured = stage.run_shard(job.spec, context, **inputs)
        for file in sorted((context.work / "parts").glob("*.parquet")):
            store.side_files.write(file.read_bytes(), *parts_folder(job), file.name)
        store.side_files.write(json.dumps(measured).encode(), *parts_folder(job), shard_done_file(shard))
        shutil.rmtree(scratch, ignore_errors=True)

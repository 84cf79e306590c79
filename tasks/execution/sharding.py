"""Work on other machines: what the store carries between the one that asks and the one that does it. Imports no Prefect.

jobs/<artifact id>.json       all that it takes to make the artifact, so that its id alone is enough to ask for it
parts/<stage>-<key>/…         parts of it, made by several machines; <n>-of-<k>.json comes last and holds measurements
"""

import json
import shutil
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import ValidationError

from artifacts.artifact_store import Store
from artifacts.check import Check
from artifacts.errors import RequestError, one_line
from tasks.execution.stage import Context, Job, fetch_parts, inputs_of, parts_of
from tasks.registry import STAGES
from tasks.workers.events import Events


def keep(job: Job) -> None:
    """Put a job into the store."""
    content = job.model_copy(update={"refresh": False}).model_dump_json(indent=1)
    Store.current().write(content.encode(), "jobs", f"{job.artifact}.json")


def kept(artifact: str) -> Job:
    """The job that makes an artifact, its inputs verified. RequestError says what to do if it cannot be had."""
    content = Store.current().read("jobs", f"{artifact}.json")
    if content is None:
        raise RequestError(
            f"{artifact}: the store {Store.current().root} does not know how it is made; run its recipe once, "
            "or look for the id with `dialogsum show`"
        )
    try:
        return Job.model_validate_json(content)
    except ValidationError as error:
        problem = error.errors()[0]
        input_name = " ".join(str(part) for part in problem["loc"])
        raise RequestError(
            f"{artifact} cannot be made: {input_name}: {one_line(problem['msg'], 160)}; make that artifact again first"
        ) from error


def check(job: Job, events: Events) -> list[Check]:
    """What the stage finds on the CPU before any GPU is asked for."""
    stage = STAGES[job.stage]
    if stage.check is None:
        return []
    with TemporaryDirectory() as folder:
        context = Context(Path(folder), Path(folder), job.runtime, events)
        return stage.check(stage.spec.model_validate(job.spec), context, **inputs_of(job))


def mark(share: tuple[int, int]) -> str:
    """The file that says that a share is done."""
    return f"{share[0]}-of-{share[1]}.json"


def missing_shares(job: Job, machines: int) -> list[tuple[int, int]]:
    """The shares of a job that nobody has done yet."""
    done = Store.current().names(*parts_of(job))
    return [share for n in range(machines) if mark(share := (n, machines)) not in done]


def perform_share(job: Job, share: tuple[int, int], events: Events, gate: AbstractContextManager[None]) -> None:
    """Do one share of a job inside `gate` and put its parts into the store."""
    stage, store = STAGES[job.stage], Store.current()
    assert stage.share is not None
    with store.alone(stage.name, f"{job.key}-{mark(share)}") as scratch:
        if mark(share) in store.names(*parts_of(job)):
            return
        (scratch / "work").mkdir(exist_ok=True)
        context = Context(scratch / "out", scratch / "work", job.runtime, events, share)
        fetch_parts(job, context.work)  # of a run that shared the work among another number of machines
        inputs = inputs_of(job)
        with gate:
            measured = stage.share(stage.spec.model_validate(job.spec), context, **inputs)
        for file in sorted((context.work / "parts").glob("*.parquet")):
            store.write(file.read_bytes(), *parts_of(job), file.name)
        store.write(json.dumps(measured).encode(), *parts_of(job), mark(share))
        shutil.rmtree(scratch, ignore_errors=True)

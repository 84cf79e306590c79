"""The process of a Slurm job: makes one artifact, or one shard of it. It needs the store, but no Prefect server.

    python -m flows.slurm.batch_job CONFIG.json       (flows/slurm/batch_script.py writes CONFIG.json)

It reports events as workers do (tasks/workers/events.py); the process that submitted the job reads them in its log.
SIGTERM, which Slurm sends before the time limit, is passed to the workers, so that training writes a checkpoint.
"""

import json
import os
import platform
import signal
from contextlib import nullcontext, suppress
from typing import Any

import psutil
from pydantic import Field, SerializeAsAny, field_validator

from artifacts.artifact_store import Store
from artifacts.cache_key import difference
from artifacts.errors import StageError
from artifacts.record import Record
from tasks.execution.decision import identity
from tasks.execution.executor import execute
from tasks.execution.job import Job, parse_job
from tasks.execution.sharding import execute_shard
from tasks.execution.stage import Shard
from tasks.registry import STAGES
from tasks.workers.events import Events, emit
from tasks.workers.worker_main import worker_main


class TerminatedError(StageError):
    """SIGTERM ended the work; a later job goes on with what is kept of it."""

    exit_code = 143


class BatchJobConfig(Record):
    """What the job makes."""

    job: SerializeAsAny[Job]
    shard: int = Field(default=0, ge=0)
    shards: int = Field(default=1, ge=1)

    @field_validator("job", mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        """The settings get the class that the stage declares."""
        return parse_job(json.dumps(value).encode(), STAGES) if isinstance(value, dict) else value


class BatchJobResult(Record):
    """What the job reports at its end."""

    artifact: str


class SigtermForwarder:
    """Passes SIGTERM to all child processes and remembers it, instead of ending this process."""

    def __init__(self) -> None:
        self.received = False
        signal.signal(signal.SIGTERM, self._forward)

    def _forward(self, *_: object) -> None:
        self.received = True
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.terminate()


def run(config: BatchJobConfig, events: Events) -> BatchJobResult:
    """Make the artifact or the shard. TerminatedError if SIGTERM ended it; StageError if this node has other code."""
    emit("start")  # the log may have events of an earlier start
    events.log(f"Slurm job {os.environ.get('SLURM_JOB_ID', '')} runs on {platform.node()}")
    store, job, stage = Store.current(), config.job, STAGES[config.job.stage]
    if other := difference(identity(stage, job.spec, job.inputs), job.identity):
        raise StageError(
            f"{platform.node()} would make another artifact than {job.artifact}, since it differs in {_names(other)}: "
            "give the nodes the same code and packages as the machine that submits the jobs"
        )
    sigterm = SigtermForwarder()
    try:
        if config.shards == 1:
            execute(store, stage, job, events)
        else:
            execute_shard(store, stage, job, Shard(config.shard, config.shards), events, nullcontext())
    except StageError as error:
        if sigterm.received:
            raise TerminatedError(str(error)) from error
        raise
    return BatchJobResult(artifact=job.artifact)


def _names(differences: Any) -> str:
    names = sorted(map(str, differences))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def main() -> None:
    """Run as the process of a Slurm job."""
    worker_main(run, BatchJobConfig)


if __name__ == "__main__":
    main()

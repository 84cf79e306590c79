"""Runs a stage as a Slurm job: submits it, follows its state and its log, and cancels it with this run.

A job that reaches its time limit, is preempted or loses its node goes on where it was, in a job that Slurm requeues
itself or that is submitted here.
"""

import shutil
import time
from contextlib import suppress

from prefect import get_run_logger

from artifacts.artifact_path import artifact_folder
from artifacts.artifact_store import DamageError, Store
from artifacts.errors import StageError
from flows.slurm import commands
from flows.slurm.batch_job import BatchJobConfig, TerminatedError
from flows.slurm.batch_script import job_environment, write_script
from flows.slurm.commands import JobStatus, SlurmUnavailableError
from flows.slurm.job_log import JobLog
from flows.slurm.settings import OPTIONS, SlurmSettings
from flows.slurm.shown_state import ShownState
from tasks.execution.job import Job
from tasks.execution.sharding import missing_shards
from tasks.execution.stage import WHOLE, Shard
from tasks.prefect_task import RunEvents, log_how_to_resume, title
from tasks.registry import STAGES

POLL = 5.0
"""Seconds between looks at a job."""
LOG_SECONDS = 20.0
"""Seconds after a job's end in which a shared folder shows the last lines of its log."""
REPORTED = ("COMPLETED", "FAILED", "UNKNOWN")
"""States of ended jobs whose process has reported its result or its error."""
FRUITLESS = 3
"""How many jobs in a row may be interrupted without any progress."""
INTERRUPTED = {
    "TIMEOUT": ("reached its time limit", "raise --time"),
    "PREEMPTED": ("was preempted", "use another partition or QOS"),
    "NODE_FAIL": ("lost its node", "name that node in --exclude"),
    "BOOT_FAIL": ("got a node that did not start", "name that node in --exclude"),
}
"""State after which another job goes on -> what has happened, and what to do if it happens again and again."""
TERMINATED = (f"{TerminatedError.exit_code}:0", "0:15")
"""Exit codes of a job that SIGTERM has ended before its time limit: at work, and before its process was ready."""
REMEDIES = {
    "OUT_OF_MEMORY": "raise --mem",
    "CANCELLED": "it was cancelled in Slurm; start this run again to resume",
    "UNKNOWN": "Slurm no longer knows it; start this run again to resume",
}


def run_on_slurm(job: Job, settings: SlurmSettings, shard: Shard = WHOLE) -> None:
    """Have a Slurm job make an artifact or a shard of it. Returns when the result is in the store.

    RequestError if sbatch refuses the job or is not there; StageError if the job fails.
    """
    if _complete(job, shard) and not job.refresh:
        return
    _SlurmJob(job, settings, shard).follow()


class _SlurmJob:
    def __init__(self, job: Job, settings: SlurmSettings, shard: Shard) -> None:
        self.job, self.settings, self.shard = job, settings, shard
        self.script = write_script(settings, BatchJobConfig(job=job, shard=shard.index, shards=shard.count))
        self.name = f"dialogsum-{self.script.parent.name}"
        self.logger, self.events, self.state = get_run_logger(), RunEvents(title(job)), ShownState()
        self.completed = self.fruitless = self.restarts = 0
        self.told = ""
        if identifier := commands.active_job(self.name, self.script):
            self._use(identifier, "follows the job of an earlier run,")
        else:
            self._submit("submitted as")

    def _submit(self, how: str) -> None:
        identifier = commands.submit(self.script, self.name, self.settings.options, job_environment())
        self._use(identifier, how)

    def _use(self, identifier: str, how: str) -> None:
        self.id, self.restarts = identifier, 0
        self.log = JobLog(self.script.parent / f"{identifier}.log", self.events)
        self.logger.info("%s: %s Slurm job %s, log %s", title(self.job), how, identifier, self.log.file)

    def follow(self) -> None:
        """Wait for the end. The job is cancelled if this run ends before."""
        left = "its Slurm job is cancelled; a checkpoint and finished batches are kept"
        with log_how_to_resume(title(self.job), lambda: left):
            try:
                while not self._ended():
                    time.sleep(POLL)
            except BaseException:
                if problem := commands.cancel(self.id):
                    self.logger.warning("Slurm job %s could not be cancelled: %s", self.id, problem)
                raise
        self.events.finish()
        shutil.rmtree(self.script.parent, ignore_errors=True)  # the log is in that of this run

    def _ended(self) -> bool:
        """Whether the result is in the store. StageError if it will not be; interrupted jobs are submitted again."""
        status = self._status()
        if status is None:
            return False
        self.log.read_new()
        self._tell(status)
        if not status.ended:
            return False
        until = time.monotonic() + LOG_SECONDS
        while status.state in REPORTED and not self.log.ended and time.monotonic() < until:
            time.sleep(1.0)
            self.log.read_new()
        if _complete(self.job, self.shard) and (self.log.finished or not self.job.refresh):
            return True
        self._go_on(status)
        return False

    def _go_on(self, status: JobStatus) -> None:
        """Submit an interrupted job again. StageError if it has failed, or was interrupted too often."""
        terminated = status.state == "FAILED" and status.exit_code in TERMINATED
        if status.state not in INTERRUPTED and not terminated:
            reported = self.log.error if status.state in REPORTED else None
            raise reported or StageError(self._how_it_ended(status))
        what, remedy = INTERRUPTED.get(status.state, INTERRUPTED["TIMEOUT"])
        what = f"Slurm job {self.id} {what} ({self.log.error or self.log.last_line})"
        self.fruitless = 0 if self.log.completed > self.completed else self.fruitless + 1
        self.completed = max(self.completed, self.log.completed)
        if self.fruitless == FRUITLESS:
            raise StageError(f"{what}, and {FRUITLESS} jobs in a row have made no progress: {remedy} in {OPTIONS}")
        self.logger.warning(what)
        self._submit("goes on as")

    def _how_it_ended(self, status: JobStatus) -> str:
        if status.state == "COMPLETED":
            return (
                f"Slurm job {self.id} completed, but {self.job.artifact} is not in {Store.current().root}: give the "
                f"nodes the same DIALOGSUM_STORE (log: {self.log.file})"
            )
        remedy = REMEDIES.get(status.state, f"see {self.log.file}")
        return (
            f"Slurm job {self.id} ended {status.state}, exit code {status.exit_code or 'unknown'}; its last line: "
            f"{self.log.error or self.log.last_line}: {remedy}"
        )

    def _status(self) -> JobStatus | None:
        """None while Slurm does not answer."""
        try:
            return commands.status(self.id)
        except SlurmUnavailableError as error:
            self._log_once(f"Slurm does not answer ({error}): its job {self.id} is followed by its log alone")
            self.log.read_new()
            return None

    def _tell(self, status: JobStatus) -> None:
        """Log what has changed, and show it as the state of this run."""
        if status.state == commands.ENDING:
            return
        if status.restarts > self.restarts:
            self.restarts = status.restarts
            self.logger.warning("Slurm job %s was interrupted, and Slurm has requeued it", self.id)
        if status.waits:
            self._log_once(f"Slurm job {self.id} waits: {status.reason}")
        self.state.update(self.id, status)

    def _log_once(self, line: str) -> None:
        if line != self.told:
            self.logger.info(line)
            self.events.progress(0, 0, line)
        self.told = line


def _complete(job: Job, shard: Shard) -> bool:
    """Whether the store has the intact artifact, or the parts of the shard."""
    store, stage = Store.current(), STAGES[job.stage]
    if shard.count > 1:
        return shard not in missing_shards(store, job, shard.count)
    with suppress(DamageError):
        return store.verified(artifact_folder(stage.name, stage.label(job.spec), job.key)).key == job.key
    return False

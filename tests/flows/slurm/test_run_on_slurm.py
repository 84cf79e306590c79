"""A stage's Slurm job as its run follows it, with a scheduler that the test plays.

tests/system/test_slurm.py has a real one.
"""

import logging
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.errors import RequestError, StageError
from flows.slurm import commands, run_on_slurm
from flows.slurm.commands import JobStatus, SlurmUnavailableError
from flows.slurm.settings import SlurmSettings
from tasks.download import DOWNLOAD
from tasks.execution.executor import execute
from tasks.execution.job import Job
from tasks.workers.events import EVENT_PREFIX, NullListener

ERROR = '{"event": "error", "kind": "KIND", "message": "MESSAGE"}'


class Events(NullListener):
    def __init__(self, *_: object) -> None: ...
    def finish(self) -> None: ...


class Scheduler:
    """Answers in the place of Slurm's commands: for each job its statuses, and what its log has by then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.jobs: list[list[Any]] = []
        self.submitted: list[str] = []
        self.cancelled: list[str] = []
        for name in ("submit", "status", "cancel"):
            monkeypatch.setattr(commands, name, getattr(self, name))
        monkeypatch.setattr(commands, "active_job", lambda *_: None)
        monkeypatch.setattr(run_on_slurm, "POLL", 0.0)
        monkeypatch.setattr(run_on_slurm, "LOG_SECONDS", 0.0)
        monkeypatch.setattr(run_on_slurm, "RunEvents", Events)
        monkeypatch.setattr(run_on_slurm, "get_run_logger", lambda: logging.getLogger("run"))
        monkeypatch.setattr("tasks.prefect_task.get_run_logger", lambda: logging.getLogger("run"))

    def job(self, *steps: Any) -> None:
        """Steps: a status, an exception, or something to do before the next status."""
        self.jobs.append(list(steps))

    def submit(self, script: Path, *_: Any) -> str:
        self.script = script
        self.submitted.append(str(len(self.submitted) + 1))
        return self.submitted[-1]

    def status(self, job: str) -> JobStatus:
        steps = self.jobs[int(job) - 1]
        while callable(steps[0]):
            steps.pop(0)()
        step = steps.pop(0)
        if isinstance(step, BaseException):
            raise step
        assert isinstance(step, JobStatus)
        return step

    def cancel(self, job: str) -> str:
        self.cancelled.append(job)
        return ""

    def log(self, *events: str) -> Any:
        """The job writes these events."""

        def write() -> None:
            with (self.script.parent / f"{self.submitted[-1]}.log").open("a") as file:
                file.writelines(f"{EVENT_PREFIX}{event}\n" for event in events)

        return write


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Scheduler:
    return Scheduler(monkeypatch)


@pytest.fixture
def settings(tmp_path: Path) -> SlurmSettings:
    return SlurmSettings(("--gres=gpu:1",), None, tmp_path / "shared")


def make(job: Job) -> Any:
    """What the job does on its node."""
    return lambda: execute(Store.current(), DOWNLOAD, job, NullListener())


RUNS = JobStatus("RUNNING", "None", "n1")
DONE = JobStatus("COMPLETED", "None", "n1", "0:0")
STOPPED = JobStatus("FAILED", "NonZeroExitCode", "n1", "143:0")
RESULT = '{"event": "result", "result": {}}'


def error(kind: str, message: str) -> str:
    return ERROR.replace("KIND", kind).replace("MESSAGE", message)


def progress(done: int) -> str:
    return f'{{"event": "progress", "completed": {done}, "total": 9, "note": ""}}'


def test_a_finished_job_leaves_its_artifact_and_no_files(slurm: Scheduler, job: Job, settings: SlurmSettings) -> None:
    """A second request finds it and submits nothing."""
    slurm.job(JobStatus("PENDING", "Resources"), RUNS, make(job), slurm.log(RESULT), DONE)
    run_on_slurm.run_on_slurm(job, settings)
    assert Store.current().by_id(job.artifact).key == job.key
    assert not slurm.script.parent.exists()
    run_on_slurm.run_on_slurm(job, settings)
    assert slurm.submitted == ["1"]


def test_interrupted_jobs_go_on_as_long_as_they_get_further(
    slurm: Scheduler, job: Job, settings: SlurmSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """SIGTERM before the limit, a limit, a preemption, a lost node; the words of the worker are in the log."""
    slurm.job(RUNS, slurm.log(progress(1), error("stage", "stopped by SIGTERM after step 1")), STOPPED)
    slurm.job(JobStatus("FAILED", "NonZeroExitCode", "n1", "0:15"))  # by SIGTERM while Python was starting
    for step, state in enumerate(("TIMEOUT", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL"), 2):
        slurm.job(RUNS, slurm.log(progress(step)), JobStatus(state, state, "n1", "0:0"))
    slurm.job(make(job), slurm.log(RESULT), DONE)
    with caplog.at_level(logging.INFO):
        run_on_slurm.run_on_slurm(job, settings)
    assert slurm.submitted == ["1", "2", "3", "4", "5", "6", "7"]
    assert "Slurm job 1 reached its time limit (stopped by SIGTERM after step 1)" in caplog.text
    assert "Slurm job 5 lost its node" in caplog.text


def test_jobs_that_never_get_further_end_the_run(slurm: Scheduler, job: Job, settings: SlurmSettings) -> None:
    """After three in a row, with the option to change."""
    for _ in range(4):
        slurm.job(RUNS, JobStatus("TIMEOUT", "TimeLimit", "n1", "0:15"))
    with pytest.raises(StageError, match=r"Slurm job 3 reached its time limit .*no progress: raise --time"):
        run_on_slurm.run_on_slurm(job, settings)
    assert slurm.submitted == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("status", "event", "expected", "message"),
    [
        (JobStatus("FAILED", "", "n1", "2:0"), error("request", "no model"), RequestError, "^no model$"),
        (JobStatus("FAILED", "", "n1", "1:0"), error("stage", "loss is NaN"), StageError, "^loss is NaN$"),
        (JobStatus("FAILED", "", "n1", "7:0"), progress(1), StageError, r"ended FAILED, exit code 7:0; .*1\.log$"),
        (JobStatus("OUT_OF_MEMORY", "", "n1", "0:125"), progress(1), StageError, "OUT_OF_MEMORY.*: raise --mem$"),
        (
            JobStatus("CANCELLED", "", "n1", "143:0"),
            error("stage", "SIGTERM"),
            StageError,
            "SIGTERM: it was cancelled",
        ),
        (JobStatus("UNKNOWN"), progress(1), StageError, "exit code unknown.*no longer knows it; start this run again"),
        (DONE, RESULT, StageError, "completed, but download-.* give the nodes the same DIALOGSUM_STORE"),
    ],
)
def test_a_job_that_failed_is_not_repeated_and_says_why(
    slurm: Scheduler,
    job: Job,
    settings: SlurmSettings,
    status: JobStatus,
    event: str,
    expected: type[Exception],
    message: str,
) -> None:
    """Errors of the stage in their own words, others in Slurm's, with what to do."""
    slurm.job(RUNS, slurm.log(event), status)
    with pytest.raises(expected, match=message):
        run_on_slurm.run_on_slurm(job, settings)
    assert slurm.submitted == ["1"]


def test_an_old_artifact_does_not_count_as_a_refreshed_one(slurm: Scheduler, job: Job, settings: SlurmSettings) -> None:
    """A setup script that ends the job with code 0 has made nothing."""
    make(job)()
    slurm.job(RUNS, DONE)
    with pytest.raises(StageError, match="completed, but"):
        run_on_slurm.run_on_slurm(job.model_copy(update={"refresh": True}), settings)


def test_a_controller_that_is_away_ends_nothing(
    slurm: Scheduler, job: Job, settings: SlurmSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told once."""
    slurm.job(RUNS, *[SlurmUnavailableError("Unable to contact")] * 5, RUNS, make(job), slurm.log(RESULT), DONE)
    with caplog.at_level(logging.INFO):
        run_on_slurm.run_on_slurm(job, settings)
    assert caplog.text.count("Slurm does not answer (Unable to contact)") == 1


def test_a_run_that_is_ended_cancels_its_job(slurm: Scheduler, job: Job, settings: SlurmSettings) -> None:
    """By whatever is raised in it, such as Prefect's signal of a cancellation."""
    slurm.job(RUNS, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run_on_slurm.run_on_slurm(job, settings)
    assert slurm.cancelled == ["1"]

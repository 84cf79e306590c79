"""The process of a Slurm job: other code is refused, and SIGTERM reaches the workers and is told apart from failures.

tests/system/test_slurm.py runs it on a cluster.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from artifacts.errors import StageError
from flows.slurm import batch_job
from flows.slurm.batch_job import BatchJobConfig, SigtermForwarder, TerminatedError
from tasks.execution.job import Job
from tasks.workers.events import EVENT_PREFIX, NullListener


@pytest.fixture(autouse=True)
def _own_children_only(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """SIGTERM is passed to what a test has started, not to the servers that other tests of this process use."""
    earlier, previous = {child.pid for child in psutil.Process().children()}, signal.getsignal(signal.SIGTERM)

    class Later(psutil.Process):
        def children(self, recursive: bool = False) -> list[psutil.Process]:
            return [child for child in super().children() if child.pid not in earlier]

    monkeypatch.setattr(psutil, "Process", Later)
    yield
    signal.signal(signal.SIGTERM, previous)


@pytest.fixture
def config(job: Job) -> BatchJobConfig:
    return BatchJobConfig(job=job)


def failing(*, sigterm: bool) -> Any:
    """In the place of `execute`: a stage that fails, after SIGTERM or without it."""

    def execute(*_: Any) -> None:
        if sigterm:
            os.kill(os.getpid(), signal.SIGTERM)
        raise StageError("stopped after step 3")

    return execute


def test_a_node_with_other_code_makes_nothing(job: Job) -> None:
    """It would publish other results under the key of this code; the difference is named."""
    other = job.model_copy(update={"identity": dict(job.identity) | {"code": {"tasks.download": "0" * 64}}})
    with pytest.raises(StageError, match=r"differs in code\.\S+.*: give the nodes the same code and packages"):
        batch_job.run(BatchJobConfig(job=other), NullListener())


def test_work_that_sigterm_ended_is_not_a_failure(config: BatchJobConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has the exit code of SIGTERM, 128 + 15, and the words of the worker."""
    monkeypatch.setattr(batch_job, "execute", failing(sigterm=True))
    with pytest.raises(TerminatedError, match=r"^stopped after step 3$") as ended:
        batch_job.run(config, NullListener())
    assert ended.value.exit_code == 143


def test_a_failure_without_sigterm_stays_one(config: BatchJobConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_job, "execute", failing(sigterm=False))
    with pytest.raises(StageError) as failed:
        batch_job.run(config, NullListener())
    assert failed.value.exit_code == 1


def test_sigterm_is_passed_to_the_workers_and_the_process_lives_on() -> None:
    """Slurm signals the script alone; a worker in a session of its own gets it from here."""
    forwarder = SigtermForwarder()
    worker = subprocess.Popen(["sleep", "600"], start_new_session=True)
    os.kill(os.getpid(), signal.SIGTERM)
    assert worker.wait(60) == -signal.SIGTERM
    assert forwarder.received


def test_the_start_is_the_first_event(
    config: BatchJobConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever reads the log of a requeued job forgets the error before it."""
    monkeypatch.setattr(batch_job, "execute", lambda *_: None)
    assert batch_job.run(config, NullListener()).artifact == config.job.artifact
    first = capsys.readouterr().out.strip().splitlines()[0]
    assert json.loads(first.removeprefix(EVENT_PREFIX)) == {"event": "start"}

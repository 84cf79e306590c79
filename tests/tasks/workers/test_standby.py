"""A standby worker does the next work, is replaced while more is expected, and is never left behind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from artifacts.errors import StageError
from artifacts.record import Record
from tasks.workers.events import NullListener
from tasks.workers.launcher import run_workers
from tasks.workers.standby import StandbyWorker, current_standby
from tests.support.paths import ROOT

WORKER = "tasks.decoding.worker"


class Nothing(Record):
    """A config that no worker accepts."""


@pytest.fixture
def standby(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[StandbyWorker]:
    """The environment names a GPU; the workers end before they would use it."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("DIALOGSUM_STORE", str(tmp_path / "store"))
    with StandbyWorker([WORKER]) as standby:
        yield standby


def failure(folder: Path) -> str:
    """The error of a worker that gets no settings."""
    with pytest.raises(StageError) as error:
        run_workers(WORKER, [Nothing()], Nothing, folder, NullListener())
    return str(error.value)


@pytest.mark.slow
def test_the_waiting_process_does_the_work_and_another_takes_its_place(standby: StandbyWorker, tmp_path: Path) -> None:
    standby.request(True)
    first = standby.process
    standby.request(True)
    assert first is not None
    assert standby.process is first
    assert "DecodingWorkerConfig" in failure(tmp_path)
    assert first.poll() is not None
    second = standby.process
    assert second is not None
    assert second is not first

    second.kill()  # a process that died is replaced by a new one
    second.wait()
    standby.request(False)
    assert "DecodingWorkerConfig" in failure(tmp_path)
    assert standby.process is None


@pytest.mark.slow
def test_work_of_another_module_leaves_the_process_waiting(standby: StandbyWorker, tmp_path: Path) -> None:
    """It has not imported that module, and the next work may be its own."""
    standby.request(True)
    waiting = standby.process
    assert standby.claim("tasks.summarization.worker", tmp_path / "config.json") is None
    assert standby.process is waiting


@pytest.mark.slow
def test_the_waiting_process_ends_with_the_run_and_with_the_parent(standby: StandbyWorker) -> None:
    """Also where the run ends with an error; outside of the run nothing is claimed."""
    inner = StandbyWorker([WORKER])
    waiting = []

    def interrupted_run() -> None:
        with inner:
            inner.request(True)
            waiting.append(inner.process)
            assert current_standby() is inner
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted_run()
    assert waiting[0] is not None
    assert waiting[0].poll() == 0
    assert current_standby() is standby
    script = (
        "import os; from tasks.workers.standby import StandbyWorker; "
        "standby = StandbyWorker(['tasks.decoding.worker']); "
        "standby.request(True); print(standby.process.pid, flush=True); os._exit(9)"
    )
    parent = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env=os.environ)
    pid = int(parent.stdout)
    if psutil.pid_exists(pid):
        psutil.wait_procs([psutil.Process(pid)], timeout=60)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_there_is_none_without_a_gpu(standby: StandbyWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU the imports would take cores from the stage that runs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    standby.request(True)
    assert standby.process is None

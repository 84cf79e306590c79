"""A worker that waits with its imports done: it is taken, replaced while more are to come, and never left behind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from artifacts.errors import StageError
from tasks.workers.events import Silent
from tasks.workers.launcher import SPARE, expect_workers, no_more_workers, run_worker
from tests.support.paths import ROOT

WORKER = ["-m", "tasks.decoding.worker"]


@pytest.fixture(autouse=True)
def a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The environment names a GPU; the workers end before they would use it."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("DIALOGSUM_STORE", str(tmp_path / "store"))
    yield
    no_more_workers()


def failed(work: Path) -> str:
    """What a worker without a config says."""
    with pytest.raises(StageError) as refused:
        run_worker(WORKER, {}, work, Silent())
    return str(refused.value)


@pytest.mark.slow
def test_the_waiting_process_does_the_work_and_another_takes_its_place(tmp_path: Path) -> None:
    expect_workers(True)
    first = SPARE.waiting
    expect_workers(True)
    assert first is not None
    assert SPARE.waiting is first
    assert "KeyError: 'spec'" in failed(tmp_path)
    assert first.poll() is not None
    second = SPARE.waiting
    assert second is not None
    assert second is not first

    second.kill()  # one that died is replaced by a new process
    second.wait()
    expect_workers(False)
    assert "KeyError: 'spec'" in failed(tmp_path)
    assert SPARE.waiting is None


@pytest.mark.slow
def test_what_waits_ends_with_the_run_and_with_the_parent() -> None:
    expect_workers(True)
    waiting = SPARE.waiting
    assert waiting is not None
    no_more_workers()
    assert waiting.poll() == 0
    script = "import os; from tasks.workers.launcher import SPARE, expect_workers; expect_workers(True); print(SPARE.waiting.pid, flush=True); os._exit(9)"
    said = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, env=os.environ)
    pid = int(said.stdout)
    if psutil.pid_exists(pid):
        psutil.wait_procs([psutil.Process(pid)], timeout=60)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_there_is_none_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU the imports would take cores from the stage that runs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    expect_workers(True)
    assert SPARE.waiting is None

"""Workers share the cores that this process may use, not those that the machine has."""

import os
import subprocess
import sys

import pytest

from tasks.workers import cpus
from tasks.workers.cpus import cpu_threads
from tests.support.paths import ROOT


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no CPU affinity")
def test_a_process_bound_to_one_core_uses_one_thread() -> None:
    """In a cpuset of one core more threads would only wait for each other."""
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from tasks.workers.cpus import cpu_threads; print(cpu_threads(None, 1))"
    )
    process = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout == "1\n"


@pytest.mark.parametrize(
    ("cores", "threads", "processes", "expected"),
    [(64, None, 1, 64), (64, None, 3, 21), (2, None, 8, 1), (64, 5, 8, 5)],
)
def test_workers_share_the_cores_equally(
    cores: int, threads: int | None, processes: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`runtime.threads` is the number for each worker, whatever the cores."""
    monkeypatch.setattr(cpus, "usable_cores", lambda: cores)
    assert cpu_threads(threads, processes) == expected

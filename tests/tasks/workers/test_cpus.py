"""Workers share the cores that this process may use, not those that the machine has."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.workers import cpus
from tasks.workers.cpus import cgroup_quota, cpu_threads
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


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000", "cpu/cpu.cfs_period_us": "100000"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_the_quota_of_a_container_is_read(
    files: dict[str, str], cores: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of both versions of cgroups; a container with time for one and a half cores gets two threads at most."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert cgroup_quota(tmp_path) == cores
    monkeypatch.setattr(cpus, "CGROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(64)))
    assert cpus.usable_cores() == (64 if cores is None else {1.5: 2, 4.0: 4}[cores])

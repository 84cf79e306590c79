"""Weeks of a soak on a real station: with a killed worker, a restart of the server, and a soak that was killed."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows.benchmarks.soak import bench_soak
from flows.benchmarks.soak_record import read_weeks
from tests.support.paths import ROOT
from tests.support.stations import wait_until


@pytest.mark.faults
def test_three_weeks_with_a_kill_and_a_restart_lose_nothing_and_leave_nothing(tmp_path: Path) -> None:
    """The benchmark compares runs with the champion log. Here: every week was recorded, no process or file is left."""
    work, record = tmp_path / "work", tmp_path / "record"
    weeks = bench_soak(work, weeks=3, kill_every=10, restart_every=20, record=record)
    assert read_weeks(record) == weeks
    assert [week.week for week in weeks] == [1, 2, 3]
    assert "promoted" in {week.decided for week in weeks}
    assert weeks[0].disturbed == ()
    assert weeks[1].disturbed[0].startswith("worker killed after ")
    assert weeks[1].disturbed[0].endswith(": Crashed")
    assert weeks[2].disturbed[0].startswith("server restarted after ")
    for week in weeks:
        assert (week.unchanged_seconds is None) == (week.week == 2)
        assert 0 < (week.unchanged_seconds or 1) < week.retraining_seconds
        assert min(week.server_memory, week.workers_memory, week.database) > 1 << 20
        assert week.artifacts >= 9
    assert [week.flow_runs for week in weeks] == sorted({week.flow_runs for week in weeks})
    assert [path.name for path in work.iterdir()] == ["soak"]
    mine = [p for p in psutil.process_iter() if p.pid != os.getpid() and str(work) in " ".join(_environment(p))]
    assert mine == []


@pytest.mark.faults
def test_a_soak_that_was_killed_goes_on_in_its_folder(tmp_path: Path) -> None:
    """With the station as it was left; the weeks before are those of the record."""
    work, record = tmp_path / "work", tmp_path / "record"
    options = ["--weeks", "9", "--work", str(work), "--record", str(record)]
    command = [sys.executable, "-m", "flows.cli", "bench", "soak", *options]
    killed = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    try:
        wait_until(lambda: record.is_file() and record.read_text().count("\n") == 1, 3600)
    finally:
        killed.kill()
        killed.wait()
    first = record.read_text()
    (folder,) = work.glob("run-*")
    weeks = bench_soak(work, weeks=2, kill_every=10, restart_every=20, record=record, resume=folder)
    assert [week.week for week in weeks] == [1, 2]
    assert record.read_text().startswith(first)
    assert weeks[1].artifacts > weeks[0].artifacts
    assert not folder.exists()


def _environment(process: psutil.Process) -> list[str]:
    try:
        return list(process.environ().values())
    except psutil.Error:
        return []

"""Three weeks of a soak on a real station: with a killed worker and a restart of the server."""

import os
from pathlib import Path

import psutil
import pytest

from flows.benchmarks.soak import bench_soak
from flows.benchmarks.soak_record import read_weeks


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


def _environment(process: psutil.Process) -> list[str]:
    try:
        return list(process.environ().values())
    except psutil.Error:
        return []

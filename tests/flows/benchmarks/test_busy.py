"""bench busy: the loops beside the measured processes, and its table."""

import os
import signal
import subprocess
from typing import Any

import pytest

from flows.benchmarks import busy
from flows.benchmarks.busy import bench_busy, busy_loops
from flows.benchmarks.environment import BenchmarkSettings


def test_the_loops_end_with_their_block_also_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or they would slow down whatever comes next."""
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def recorded(*arguments: Any) -> subprocess.Popen[bytes]:
        started.append(start(*arguments))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", recorded)
    core = min(os.sched_getaffinity(0))

    def measure() -> None:
        with busy_loops([core, core]):
            assert [process.poll() for process in started] == [None, None]
            raise RuntimeError("measured")

    with pytest.raises(RuntimeError, match="measured"):
        measure()
    assert [process.returncode for process in started] == [-signal.SIGKILL] * 2


def test_the_share_is_that_of_half_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quiet first, then busy; a system that failed has no share."""

    class Run:
        answers = iter(
            [
                {"samples": 4, "seconds": 2.0},
                {"tokens": 90, "seconds": 3.0},
                {"samples": 4, "seconds": 5.0},
                {"failed": "x"},
            ]
        )

        def __enter__(self) -> "Run":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def prepare(self, *_: str) -> tuple[dict[str, Any], None]:
            return {"tokens": 50}, None

        def run_system(self, *_: str, **__: Any) -> dict[str, Any]:
            return next(self.answers)

    monkeypatch.setattr(busy, "benchmark_run", lambda _: Run())
    monkeypatch.setattr(busy, "busy_loops", lambda _: Run())
    table, remark = bench_busy(BenchmarkSettings(), 8, 16, 40)
    assert table == [
        {"work": "training", "quiet, tok/s": "100.0", "busy, tok/s": "40.0", "share": "80 %"},
        {"work": "decoding", "quiet, tok/s": "30.0", "busy, tok/s": "-", "share": "-"},
    ]
    assert "endless loops" in remark

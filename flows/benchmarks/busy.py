"""bench busy: training and decoding beside other processes on the same cores, compared with a quiet machine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from flows.benchmarks.environment import BenchmarkRun, BenchmarkSettings, benchmark_run

SYSTEMS = ("training", "decoding")
WARM_UP = 2
"""Optimizer steps before the timing starts."""
Row = dict[str, Any]


def bench_busy(settings: BenchmarkSettings, steps: int, limit: int, new_tokens: int) -> tuple[list[Row], str]:
    """Train and decode alone, then beside one busy loop for each core. Returns a row for each, and a remark."""
    training = (f"train.max_steps={steps}", "train.evaluations=1", "train.validation_limit=1")
    overrides = (*training, f"generate.limit={limit}", f"generate.max_new_tokens={new_tokens}", "runtime.device=cpu")
    cores = sorted(os.sched_getaffinity(0))
    with benchmark_run(replace(settings, real=True)) as run:
        facts, _ = run.prepare(*overrides)
        quiet = {name: _tokens_per_second(run, name, overrides, facts) for name in SYSTEMS}
        with busy_loops(cores):
            busy = {name: _tokens_per_second(run, name, overrides, facts) for name in SYSTEMS}
    table = [_row(name, quiet[name], busy[name]) for name in SYSTEMS]
    remark = (
        f"{len(cores)} cores; busy: beside {len(cores)} endless loops, one on each core. "
        "Share: speed beside them, divided by half of the quiet machine's speed."
    )
    return table, remark


@contextmanager
def busy_loops(cores: list[int]) -> Iterator[None]:
    """One endless loop on each core while the block runs."""
    loop = "import os, sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"
    processes = [subprocess.Popen([sys.executable, "-c", loop, str(core)]) for core in cores]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _tokens_per_second(run: BenchmarkRun, name: str, overrides: tuple[str, ...], facts: dict[str, Any]) -> float | None:
    """Tokens that are trained on, or generated, in a second; None if the process failed."""
    if name == "training":
        result = run.run_system(name, "children.our_stages", *overrides, do="train", warm=WARM_UP)
        return None if "failed" in result else result["samples"] * facts["tokens"] / result["seconds"]
    result = run.run_system(name, "children.our_stages", *overrides, do="decode")
    return None if "failed" in result else result["tokens"] / result["seconds"]


def _row(name: str, quiet: float | None, busy: float | None) -> Row:
    share = f"{100 * busy / (quiet / 2):.0f} %" if quiet and busy else "-"
    return {"work": name, "quiet, tok/s": _speed(quiet), "busy, tok/s": _speed(busy), "share": share}


def _speed(tokens_per_second: float | None) -> str:
    return "-" if tokens_per_second is None else f"{tokens_per_second:.1f}"

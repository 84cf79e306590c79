"""bench unchanged: an unchanged retraining compared with an empty Prefect flow, on the same server.

This is what a schedule costs while nothing changes. Both are complete processes, imports included, in alternation.
"""

from dataclasses import replace
from statistics import median
from typing import Any

from prefect.settings import PREFECT_API_URL

from artifacts.errors import RequestError
from flows.benchmarks.child_process import ChildFailedError
from flows.benchmarks.environment import BenchmarkRun, BenchmarkSettings, benchmark_run
from flows.station.server_check import check_server

EMPTY, UNCHANGED = "an empty flow", "a retraining that finds nothing to do"


def bench_unchanged(settings: BenchmarkSettings, repeats: int) -> tuple[list[dict[str, Any]], str]:
    """Train once, then time `repeats` runs of each. Returns two rows and a remark. RequestError without a server."""
    if not PREFECT_API_URL.value():
        raise RequestError("no Prefect server: `make serve`, then export PREFECT_API_URL as it prints")
    check_server()
    with benchmark_run(replace(settings, real=settings.model is None)) as run:
        first = _run_once(run, empty=False)
        times: dict[str, list[float]] = {EMPTY: [], UNCHANGED: []}
        for _ in range(repeats):
            times[EMPTY].append(_run_once(run, empty=True)["wall_seconds"])
            again = _run_once(run, empty=False)
            times[UNCHANGED].append(again["wall_seconds"])
            if again["ran"]:
                raise RequestError(f"not unchanged: {', '.join(again['ran'])} ran again")
    empty_median = median(times[EMPTY])
    rows = [
        {
            "what": what,
            "seconds": round(median(seconds), 2),
            "fastest": min(seconds),
            "slowest": max(seconds),
            "x an empty flow": round(median(seconds) / empty_median, 2),
        }
        for what, seconds in times.items()
    ]
    return rows, (
        f"median of {repeats}, from the start of the process to its end; all {first['stages']} stages reused; "
        f"the first run took {first['wall_seconds']:.0f} s"
    )


def _run_once(run: BenchmarkRun, empty: bool) -> dict[str, Any]:
    try:
        return run.run("children.unchanged_run", empty=empty)
    except ChildFailedError as failure:
        raise RequestError(f"the run failed: {failure}; its log is in {run.folder}") from failure

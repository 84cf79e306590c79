"""bench unchanged: a retraining that finds nothing to do beside an empty Prefect flow, on the same server.

What a schedule costs while nothing changes. Both are whole processes, imports included, by turns.
"""

from dataclasses import replace
from statistics import median
from typing import Any

from prefect.settings import PREFECT_API_URL

from artifacts.errors import RequestError
from flows.benchmarks.child_process import FailedError
from flows.benchmarks.environment import Asked, Run, running
from flows.station.server_check import check_server

EMPTY, UNCHANGED = "an empty flow", "a retraining that finds nothing to do"


def bench_unchanged(asked: Asked, repeats: int) -> tuple[list[dict[str, Any]], str]:
    """Train once, then time `repeats` runs of each. Returns a row for each and a remark. RequestError without a server."""
    if not PREFECT_API_URL.value():
        raise RequestError("no Prefect server: `make serve`, then export PREFECT_API_URL as it says")
    check_server()
    with running(replace(asked, real=asked.model is None)) as run:
        first = _run(run, empty=False)
        times: dict[str, list[float]] = {EMPTY: [], UNCHANGED: []}
        for _ in range(repeats):
            times[EMPTY].append(_run(run, empty=True)["wall_seconds"])
            again = _run(run, empty=False)
            times[UNCHANGED].append(again["wall_seconds"])
            if again["ran"]:
                raise RequestError(f"not unchanged: {', '.join(again['ran'])} ran again")
    base = median(times[EMPTY])
    rows = [
        {"what": what, "seconds": round(median(seconds), 2), "fastest": min(seconds), "slowest": max(seconds),
         "x an empty flow": round(median(seconds) / base, 2)}
        for what, seconds in times.items()
    ]  # fmt: skip
    stages = f"all {first['stages']} stages reused"
    return (
        rows,
        f"median of {repeats}, from the start of the process to its end; {stages}; the first run: {first['wall_seconds']:.0f} s",
    )


def _run(run: Run, empty: bool) -> dict[str, Any]:
    try:
        return run.child("children.unchanged_run", empty=empty)
    except FailedError as failure:
        raise RequestError(f"the run failed: {failure}; its log is in {run.folder}") from failure

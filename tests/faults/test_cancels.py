"""Row 11: runs are cancelled at random moments as the UI does it, also while their children are still Scheduled.

DIALOGSUM_CANCELS sets another number of them.
"""

import os
import random
import time
from contextlib import suppress
from statistics import median
from typing import Any

import psutil
import pytest

from tests.faults.fault_table import Tally
from tests.support.stations import ENDED, LocalStation, wait_until

pytestmark = pytest.mark.faults

CANCELS = int(os.environ.get("DIALOGSUM_CANCELS", "30"))
LONGEST = 15.0
"""Seconds from the click until the run and its children have ended."""
MOMENTS = 40.0
"""The last moment of a cancel, s after the run was requested; a run starts to train after about 20 s."""
TRUE_MESSAGES = (
    "Flow run was cancelled successfully.",  # by the worker, which has stopped its process
    "Flow run was cancelled before execution started.",
    "Flow run cancelled by worker while pending.",
    "Flow run cancelled by worker (no infrastructure found).",
    "the run has stopped, as it was asked to",
    "the run that started it no longer needs it",
    "the run ended itself: its worker did not end it",
    "the run ended itself: it was cancelled before it began",
    None,  # the server itself, of a run that nobody has taken
)


def settled(runs: list[dict[str, Any]]) -> bool:
    return bool(runs) and all(run["state_type"] in ENDED for run in runs)


def processes_of(runs: set[str]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("PREFECT__FLOW_RUN_ID") in runs:
                found.append(process)
    return found


def family(station: LocalStation, parent: str) -> list[dict[str, Any]]:
    return [station.run(parent), *station.children(parent)]


def test_runs_cancelled_at_random_moments_end_and_go_on(station: LocalStation, tally: Tally) -> None:
    """Each ends within 15 s with a true message and leaves no process; in the end, the same request completes."""
    moments, lost, seconds, seen = random.Random(19), list[Any](), list[float](), list[str]()
    seed, everybody = 0, set[str]()
    for number in range(CANCELS):
        request = ("train.max_steps=1500", "train.learning_rate=1e-9", f"train.seed={seed}")
        parent = station.retrain(*request)
        if number % 3 == 0:  # as soon as it has a child, which is Scheduled then, or has just been taken
            wait_until(lambda parent=parent: station.children(parent) or station.run(parent)["state_type"] in ENDED)
        else:
            time.sleep(moments.uniform(0, MOMENTS))
        before = family(station, parent)
        if settled(before[:1]):
            seed += 1  # it was faster; a new one
            continue
        station.post(f"/flow_runs/{parent}/set_state", state={"type": "CANCELLING", "name": "Cancelling"})
        clicked = time.monotonic()
        wait_until(lambda parent=parent: settled(family(station, parent)), 120)
        seconds.append(time.monotonic() - clicked)
        runs = family(station, parent)
        everybody |= {run["id"] for run in runs}
        seen.append(", ".join(run["state_name"] for run in before))
        print(f"{number:2} {seconds[-1]:5.1f} s  {seen[-1]:30}", [run["state"]["message"] for run in runs], flush=True)
        wrong = [
            (run["name"], run["state_name"], run["state"]["message"])
            for run in runs
            if run["state_type"] != "CANCELLED" or run["state"]["message"] not in TRUE_MESSAGES
        ]
        if wrong and not settled(before):
            lost.append((seen[-1], wrong))
        if seconds[-1] > LONGEST:
            lost.append((seen[-1], f"{seconds[-1]:.0f} s"))
        with suppress(AssertionError):
            wait_until(lambda runs=runs: not processes_of({run["id"] for run in runs}), 10)
        if left := processes_of({run["id"] for run in runs}):
            lost.append((seen[-1], "still there", [" ".join(process.cmdline())[:200] for process in left]))
    print(f"median {median(seconds):.1f} s, longest {max(seconds):.1f} s")
    revived = [run for run in map(station.run, everybody) if run["state_type"] != "CANCELLED"]
    lost += [(run["name"], run["state_name"]) for run in revived]
    wait_until(lambda: station.get("/v2/concurrency_limits/gpu")["active_slots"] == 0, 90)
    last = station.ended(station.retrain(*request), 1800)
    if last["state_type"] != "COMPLETED":
        lost.append(last["state"])
    tally("11 cancelled in the UI at random moments", len(seconds), lost)

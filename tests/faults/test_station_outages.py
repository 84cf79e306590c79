"""Row 11: the Prefect server of a station restarts, or is away for 90 s, while a child on the GPU pool trains.

Short forms with a lease that is renewed more often are in tests/tasks/test_gpu_lease.py; runs without a station are in
tests/faults/test_server_outage.py.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.fault_table import Tally
from tests.support.outages import Training, stop_server
from tests.support.stations import ENDED, HOLDER, LocalStation, wait_until

pytestmark = pytest.mark.faults

PATIENCE = 1800.0
"""Seconds that it may last on busy ones."""


@contextmanager
def waiting_run(station: LocalStation) -> Iterator[Path]:
    """Another run that waits for the GPU; yields the file with its output, such as `held`."""
    output = station.folder / f"holder-{time.monotonic()}.txt"
    environment = os.environ | station.environment | {"PYTHONPATH": str(station.code), "DIALOGSUM_GPU_LIMIT": "gpu"}
    with output.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER],
            cwd=station.code,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env=environment,
        )
    try:
        wait_until(lambda: "waiting for the GPU slot" in output.read_text())
        yield output
    finally:
        process.communicate()  # it holds the GPU until its input ends


@pytest.mark.parametrize(
    ("outage_seconds", "how"), [(0, signal.SIGTERM), (90, signal.SIGKILL)], ids=["restarted", "90 s"]
)
def test_training_goes_on_while_the_server_is_away(
    station: LocalStation, outage_seconds: int, how: signal.Signals, tally: Tally
) -> None:
    """Parent and child complete, the slot is free afterwards, and no two runs ever hold the GPU at once.

    None is marked as Crashed, though a minute without a heartbeat is enough for that until `up` sets five again.
    """
    lost = list[Any]()
    station.hasten("mark runs without heartbeat as Crashed", 60)
    training = Training(station, seed=100 + outage_seconds)
    with waiting_run(station) as output:

        def check() -> None:
            if "held" in output.read_text() and training.trainers():
                lost.append("two runs have the GPU")

        stop_server(station, how)
        training.note("the server is down")
        down = time.monotonic()
        while time.monotonic() - down < outage_seconds:
            check()
            time.sleep(1)
        if not training.alive():
            lost.append("a process of the runs has ended during the outage")
        station.up()
        training.note(f"the server is back after {time.monotonic() - down:.0f} s")

        def over() -> bool:
            check()
            return station.run(training.child)["state_type"] in ENDED

        wait_until(over, PATIENCE)
        training.note(f"the child has ended: {station.run(training.child)['state']['name']}")
        wait_until(lambda: "held" in output.read_text())
        training.note("the run that waited has the GPU")
    parent, children = station.ended(training.parent, PATIENCE), station.children(training.parent)
    training.note(f"the parent has ended: {parent['state']['name']}")
    ends = [(run["name"], run["state_type"]) for run in children]
    if parent["state_type"] != "COMPLETED" or {end for _, end in ends} != {"COMPLETED"}:
        lost.append((parent["state"]["message"], ends))
    for run in (training.parent, training.child):
        states = [state["name"] for state in station.get(f"/flow_run_states/?flow_run_id={run}")]
        if "Crashed" in states:
            lost.append(states)
    if len([name for name, _ in ends if name.startswith("train ")]) != 1:
        lost.append(("the training was started again", ends))
    wait_until(lambda: station.get("/v2/concurrency_limits/gpu")["active_slots"] == 0)
    print(training.logged(training.child), training.logged(training.parent), output.read_text(), sep="\n---\n")
    if status := station.try_command("status").returncode:
        lost.append(("status", status))
    tally(
        f"11 a station's server away for {outage_seconds} s while a child trains"
        if outage_seconds
        else "11 a station's server restarted while a child trains",
        1,
        lost,
    )


def test_run_can_be_cancelled_after_an_outage(station: LocalStation, tally: Tally) -> None:
    """By its worker, which waited for the server as the run did; it leaves a checkpoint and a free GPU."""
    lost = list[Any]()
    training = Training(station, seed=300, steps=1_000_000)
    stop_server(station, signal.SIGTERM)
    down = time.monotonic()
    while time.monotonic() - down < 60:  # Prefect's own observers of cancellations give up by then
        time.sleep(1)
    station.up()
    training.note("the server is back, and the run is cancelled")
    station.post(f"/flow_runs/{training.parent}/set_state", state={"type": "CANCELLING"})
    ends = [station.ended(run)["state_type"] for run in (training.parent, training.child)]
    training.note(f"parent and child have ended: {ends}")
    if ends != ["CANCELLED", "CANCELLED"]:
        lost.append(ends)
    wait_until(lambda: not training.trainers(), 60)
    wait_until(lambda: station.get("/v2/concurrency_limits/gpu")["active_slots"] == 0, 90)
    steps = [*(station.folder / "store").glob(".scratch/train-*/**/step-*/manifest.json")]
    if not steps:
        lost.append("no checkpoint")
    print(training.logged(training.child), training.logged(training.parent), sep="\n---\n")
    tally("11 cancelled in the UI after an outage of the server", 1, lost)

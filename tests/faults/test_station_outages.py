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
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.fault_table import Tally
from tests.support.stations import ENDED, HOLDER, LocalStation, wait_until

pytestmark = pytest.mark.faults

STEPS = 2000
"""Of a training that goes on for about a minute on two quiet cores."""
PATIENCE = 1800.0
"""Seconds that it may last on busy ones."""


class Training:
    """A retraining whose child trains on the GPU pool, and what happens to it, with times."""

    def __init__(self, station: LocalStation, seed: int, steps: int = STEPS) -> None:
        self.station, self.began = station, time.monotonic()
        settings = (f"train.max_steps={steps}", "train.learning_rate=1e-9", f"train.seed={seed}")
        self.parent = station.retrain(*settings)
        wait_until(
            lambda: self.trainers() and [run for run in station.children(self.parent) if run["state_type"] == "RUNNING"]
        )
        self.child = station.children(self.parent)[0]["id"]
        wait_until(lambda: f" of {steps} loss" in self.logged(self.child))
        self.note("the child trains")

    def note(self, what: str) -> None:
        """A line of the timeline, which pytest shows with -s or where a test fails."""
        print(f"{datetime.now():%H:%M:%S} {time.monotonic() - self.began:5.0f} s  {what}", flush=True)

    def trainers(self) -> list[psutil.Process]:
        processes = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "tasks.training.worker" in words and words[-1].startswith(str(self.station.folder / "store")):
                processes.append(process)
        return processes

    def logged(self, run: str) -> str:
        entries = self.station.post(
            "/logs/filter", logs={"flow_run_id": {"any_": [run]}}, limit=200, sort="TIMESTAMP_ASC"
        )
        return "\n".join(f"{entry['timestamp'][11:19]} {entry['message']}" for entry in entries)

    def alive(self) -> bool:
        """Whether the processes of both runs are there."""
        pids = set()
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                pids.add(process.environ().get("PREFECT__FLOW_RUN_ID"))
        return {self.parent, self.child} <= pids


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


def stop_server(station: LocalStation, how: signal.Signals) -> None:
    server = station.process("server")
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(how)
    for process in psutil.wait_procs(processes, timeout=30)[1]:
        process.kill()


@pytest.mark.parametrize(
    ("outage_seconds", "how"), [(0, signal.SIGTERM), (90, signal.SIGKILL)], ids=["restarted", "90 s"]
)
def test_training_goes_on_while_the_server_is_away(
    station: LocalStation, outage_seconds: int, how: signal.Signals, tally: Tally
) -> None:
    """Parent and child complete, the slot is free afterwards, and no two runs ever hold the GPU at once."""
    lost = list[Any]()
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
    """Its worker no longer hears of it: the runs end themselves, and leave a checkpoint and a free GPU."""
    lost = list[Any]()
    training = Training(station, seed=300, steps=1_000_000)
    stop_server(station, signal.SIGTERM)
    down = time.monotonic()
    while time.monotonic() - down < 60:  # until Prefect's observers of cancellations have given up
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

"""Row 11: the Prefect server is away for ten minutes while runs train, generate, and wait for their children.

DIALOGSUM_OUTAGE sets another time in seconds. tests/system/test_short_outage.py has a short form with shorter limits.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.faults.fault_table import Tally
from tests.support.outages import Training, stop_server
from tests.support.pipelines import set_options
from tests.support.stations import ENDED, LocalStation, wait_until

pytestmark = pytest.mark.faults

OUTAGE = float(os.environ.get("DIALOGSUM_OUTAGE", "600"))
"""Seconds that the server is away."""
LONG_TRAINING = ("train.max_steps=6000", "train.learning_rate=1e-9")
LONG_GENERATION = ("generate.candidates=64", "generate.max_new_tokens=256")
PATIENCE = 3600.0
"""Seconds that each run may last on a busy machine."""


class LocalRun:
    """`dialogsum run` with the station's server and a store of its own, stopped in one stage by the outage."""

    def __init__(self, station: LocalStation, name: str, stage: str, *overrides: str) -> None:
        self.name, self.store, self.output = name, station.folder / name, station.folder / f"{name}.txt"
        self.stage = stage
        environment = {"DIALOGSUM_STORE": str(self.store), "PREFECT_HOME": str(station.folder / f"{name}-home")}
        with self.output.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", "run", *set_options([*station.settings, *overrides])],
                cwd=station.code,
                stdout=out,
                stderr=out,
                env=os.environ | station.environment | {"PYTHONPATH": str(station.code)} | environment,
            )

    def at_work(self) -> bool:
        """Whether the stage has begun, and has not ended."""
        assert self.process.poll() is None, self.output.read_text()
        return bool([*self.store.glob(f".scratch/{self.stage}-*/work")])


@contextmanager
def local_run(station: LocalStation, name: str, stage: str, *overrides: str) -> Iterator[LocalRun]:
    run = LocalRun(station, name, stage, *overrides)
    try:
        yield run
    finally:
        run.process.terminate()
        run.process.wait(60)


def flow_runs(station: LocalStation) -> list[dict[str, Any]]:
    """All but those that the schedule has planned."""
    runs = station.post("/flow_runs/filter", sort="START_TIME_ASC")
    return [run for run in runs if not run["auto_scheduled"]]


def heartbeats(station: LocalStation, run: str, since: datetime, until: datetime) -> int:
    """How many heartbeats of a time the server knows."""
    resource, occurred = {"id": [f"prefect.flow-run.{run}"]}, {"since": since.isoformat(), "until": until.isoformat()}
    wanted = {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": resource, "occurred": occurred}
    return int(station.post("/events/filter", filter=wanted)["total"])


def test_an_outage_of_ten_minutes_ends_no_run(station: LocalStation, tally: Tally) -> None:
    """Every run completes, also one that a busy server takes for dead, and the server knows what happened meanwhile."""
    lost = list[Any]()
    with ExitStack() as stack:
        generating = stack.enter_context(local_run(station, "generating", "generate", *LONG_GENERATION))
        training = Training(station, seed=700, steps=6000)
        local = stack.enter_context(local_run(station, "training", "train", *LONG_TRAINING))
        wait_until(lambda: generating.at_work() and local.at_work(), PATIENCE)
        training.note("a station's child trains, and two local runs train and generate")
        runs = [run["id"] for run in flow_runs(station)]
        stop_server(station, signal.SIGKILL)
        down, down_at = time.monotonic(), datetime.now(UTC)
        training.note("the server is down")
        while time.monotonic() - down < OUTAGE:
            time.sleep(1)
            if not training.alive():
                lost.append("a process of the station's runs has ended during the outage")
                break
            lost += [run.output.read_text() for run in (generating, local) if run.process.poll()]
        station.up()
        up_at = datetime.now(UTC)
        training.note(f"the server is back, and `up` has ended, after {time.monotonic() - down:.0f} s")
        for run in (generating, local):
            code = run.process.wait(PATIENCE)
            training.note(f"the local run that was {run.name} has ended with exit code {code}")
            if code:
                lost.append(run.output.read_text())
    wait_until(lambda: station.run(training.child)["state_type"] in ENDED, PATIENCE)
    training.note("the child has ended")
    station.ended(training.parent, PATIENCE)
    training.note("the parent has ended")
    for run in flow_runs(station):
        states = [state["name"] for state in station.get(f"/flow_run_states/?flow_run_id={run['id']}")]
        training.note(f"{run['name']}: marked as Crashed {states.count('Crashed')} times, ended {run['state_name']}")
        if run["state_type"] != "COMPLETED":
            lost.append((run["name"], states))
        tasks = station.post("/task_runs/filter", flow_runs={"id": {"any_": [run["id"]]}})
        lost += [(task["name"], task["state_type"]) for task in tasks if task["state_type"] != "COMPLETED"]
    for identifier in runs:
        name, log = station.run(identifier)["name"], training.logged(identifier)
        print(f"--- {name}", log, sep="\n")
        if "the Prefect server answers again after" not in log:
            lost.append((name, "its log does not have the outage"))
        told = heartbeats(station, identifier, down_at, up_at)
        if told < OUTAGE / 30 - 2:
            lost.append((name, f"the server knows {told} heartbeats of the outage"))
    progress = station.post("/artifacts/filter", artifacts={"type": {"any_": ["progress"]}}, limit=200)
    unfinished = [(item["description"], item["data"]) for item in progress if item["data"] != 100.0]
    lost += unfinished
    late = [entry for entry in training.logged(training.child).splitlines() if " of 6000 loss" in entry]
    print(*late, sep="\n")
    tally("11 server away for ten minutes: training, generation, a parent that waits", len(runs), lost)

"""Outages of a station's server while a retraining works, and the timeline of what happens."""

import signal
import time
from contextlib import suppress
from datetime import datetime

import psutil

from tests.support.stations import LocalStation, wait_until

STEPS = 2000
"""Of a training that goes on for about a minute on two quiet cores."""


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


def stop_server(station: LocalStation, how: signal.Signals) -> None:
    server = station.process("server")
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(how)
    for process in psutil.wait_procs(processes, timeout=30)[1]:
        process.kill()

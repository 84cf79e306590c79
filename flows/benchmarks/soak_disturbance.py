"""What happens to runs of `bench soak`: processes are killed and the server is restarted, at random moments."""

import random
import time
from typing import Any

from flows.benchmarks.soak_server import ENDED, wait_until
from flows.benchmarks.soak_station import SoakStation

KILLS = ("worker", "child", "run")
"""What is killed, in turn: a worker with its runs, the process of a retraining's child on the GPU pool, its own."""
FIRST_KILL, FIRST_RESTART = 2, 3
"""Weeks, so that few weeks have both."""


class Disturbances:
    """Disturbs a retraining each so many weeks."""

    def __init__(self, station: SoakStation, kill_every: int, restart_every: int) -> None:
        self.station, self.kill_every, self.restart_every = station, kill_every, restart_every
        self.seconds, self.random = 20.0, random.Random(0)  # noqa: S311  # moments, not secrets
        """Of an undisturbed retraining."""

    def due(self, week: int) -> list[str]:
        """What is to happen in a week, counted from 1."""
        kills, restarts = (
            range(first, week + 1, every)
            for first, every in ((FIRST_KILL, self.kill_every), (FIRST_RESTART, self.restart_every))
        )
        kill = [KILLS[kills.index(week) % len(KILLS)]] if week in kills else []
        return kill + (["server"] if week in restarts else [])

    def disturb(self, what: str) -> tuple[dict[str, Any], str]:
        """Start a scheduled retraining and disturb it. Returns the run, ended, and one line about it."""
        if what == "worker":
            self.station.server.hasten()
        identifier = self.station.server.scheduled("retrain")
        wait_until(lambda: self.station.server.run(identifier)["state_type"] != "SCHEDULED", "the start of a run")
        moment = self.random.uniform(0.1, 0.7) * self.seconds
        time.sleep(moment)
        if what == "server":
            self.station.restart_server()
        elif what == "worker":
            self.station.kill_worker("cpu-worker")
        else:
            wait_until(lambda: self._killed(what, identifier), f"a process of {what} to kill")
        run = self.station.server.ended(identifier)
        if what == "worker":
            self.station.up()
        did = "server restarted" if what == "server" else f"{what} killed"
        return run, f"{did} after {moment:.0f} s: {run['state_type'].title()}"

    def _killed(self, what: str, identifier: str) -> bool:
        """Kill the process of a run or of its child; True also if the run has ended."""
        targets = [identifier] if what == "run" else [child["id"] for child in self.station.server.children(identifier)]
        killed = [self.station.kill_run(target) for target in targets]  # all of them
        return any(killed) or self.station.server.run(identifier)["state_type"] in ENDED

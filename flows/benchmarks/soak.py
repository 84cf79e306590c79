"""bench soak: a year of weekly retrainings on a station, in which runs are killed and the server is restarted.

Each week the data has grown, a scheduled run retrains, and a scheduled run of `gc` follows; each fourth week another
scheduled run finds nothing to do, and commands are timed. Then everything that the station has recorded becomes a week
older (soak_clock.py). The model is tiny and random, all else is as in use.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from flows.benchmarks.environment import BenchmarkSettings, benchmark_run
from flows.benchmarks.soak_clock import pass_week
from flows.benchmarks.soak_data import SETTINGS, make_model, write_data
from flows.benchmarks.soak_disturbance import Disturbances
from flows.benchmarks.soak_record import Week, append_week, read_weeks, sizes
from flows.benchmarks.soak_server import wait_until
from flows.benchmarks.soak_station import SoakStation
from flows.benchmarks.soak_verdict import Verdict
from flows.recipe import load_recipe
from tasks.sources.resolve import resolve_model

RECIPE = "quickstart"
TIMED_EVERY = 4
"""Weeks from one in which an unchanged run and commands are timed to the next. The first and the last have them too."""


def bench_soak(
    work: Path, weeks: int, kill_every: int, restart_every: int, record: Path | None, resume: Path | None = None
) -> list[Week]:
    """Run `weeks` weeks; a line of JSON for each goes to `record`, by default `soak.jsonl` in the folder `work`.

    resume: the folder of a soak that was killed; it goes on after the last week of its record.
    StageError if a promotion is lost or a run does not end. RequestError if there is nothing to go on with.
    """
    if resume and not (resume / "station" / "prefect.db").is_file():
        raise RequestError(f"--resume {resume}: no soak has run in this folder; expected run-… in the folder of --work")
    work.mkdir(parents=True, exist_ok=True)
    record = record or work / "soak.jsonl"
    recorded = read_weeks(record) if resume else list[Week]()
    if not resume:
        record.write_text("")
    model = make_model(work.resolve() / "soak", timeout=300)
    settings = BenchmarkSettings(recipe=RECIPE, model=str(model), data=None, work=work, overrides=SETTINGS)
    with benchmark_run(settings, resume.resolve() if resume else None) as run:
        overrides = (*run.overrides, f"data.source={run.folder / 'data'}")
        station = SoakStation(run.folder, run.recipe, overrides)
        revision = resolve_model(load_recipe(run.recipe, run.overrides).model).revision
        year = Year(station, Disturbances(station, kill_every, restart_every), revision)
        if recorded:
            station.down()  # what the killed soak has left
            year.disturbances.seconds = recorded[-1].retraining_seconds
        try:
            with _up(station):
                for number in range(len(recorded) + 1, weeks + 1):
                    timed = number in (1, weeks) or number % TIMED_EVERY == 0
                    recorded.append(year.week(number, timed, rollback=number >= weeks // 2))
                    append_week(record, recorded[-1])
                    print(recorded[-1].model_dump_json(), file=sys.stderr, flush=True)
        except BaseException:
            run.failures.append("soak")  # keeps the station's files
            raise
    return recorded


class Year:
    """The weeks of one station."""

    def __init__(self, station: SoakStation, disturbances: Disturbances, revision: str) -> None:
        self.station, self.disturbances = station, disturbances
        self.data, self.store = station.folder / "data", Store(station.folder / "store")
        self.verdict = Verdict(self.store, revision)

    def week(self, number: int, timed: bool, rollback: bool) -> Week:
        """One week. StageError if something is lost.

        timed: whether an unchanged run and commands are timed.
        rollback: whether the first rollback is due, once there are two champions.
        """
        write_data(self.data, number)
        disturbed, last = list[str](), dict[str, Any]()
        for what in self.disturbances.due(number):
            last, outcome = self.disturbances.disturb(what)
            self.verdict.add(last)
            disturbed.append(outcome)
        if last.get("state_type") != "COMPLETED":
            last = self._completed("retrain")
            self.disturbances.seconds = last["total_run_time"]
        decided = self.verdict.decided()
        seconds = {"unchanged_seconds": self._completed("retrain")["total_run_time"]} if timed else {}
        if rollback and not self.verdict.log.rollbacks and len(self.verdict.log.stack) > 1:
            self.station.pipeline_command("rollback")
            disturbed.append("rollback")
            self.verdict.rolled_back()
        self._completed("gc")
        wait_until(lambda: not self.station.server.unfinished(), "the end of all runs")
        if timed:
            seconds |= {f"{name}_seconds": self.station.pipeline_command(name) for name in ("plan", "history")}
            seconds["status_seconds"] = self.station.command("station", "status")
        week = Week(
            week=number,
            disturbed=tuple(disturbed),
            decided=decided,
            retraining_seconds=last["total_run_time"],
            server_memory=self.station.memory("server"),
            workers_memory=self.station.memory("cpu-worker", "gpu-worker"),
            flow_runs=self.station.server.count_runs(),
            artifacts=len(self.store.manifests()),
            **seconds,
            **sizes(self.station.folder),
        )
        pass_week(self.station.home / "prefect.db", self.store)
        return week

    def _completed(self, flow: str) -> dict[str, Any]:
        """Wait for a scheduled run, which must complete, and return it."""
        run = self.station.server.ended(self.station.server.scheduled(flow))
        self.verdict.must_complete(run)
        if flow == "retrain":
            self.verdict.add(run)
        return run


@contextmanager
def _up(station: SoakStation) -> Iterator[None]:
    try:
        station.up()
        yield
    finally:
        station.down()

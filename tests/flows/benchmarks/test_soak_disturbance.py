"""When a soak kills runs and restarts the server."""

from typing import Any

from flows.benchmarks.soak_disturbance import Disturbances


def test_of_104_weeks_each_tenth_has_a_kill_and_each_twentieth_a_restart() -> None:
    """Workers, processes of children and of runs are killed in turn; none is due in any other week."""
    station: Any = None
    disturbances = Disturbances(station, kill_every=10, restart_every=20)
    due = {week: what for week in range(1, 105) if (what := disturbances.due(week))}
    kinds = ["worker", "child", "run"] * 4
    kills = {week: [kind] for week, kind in zip(range(2, 105, 10), kinds, strict=False)}
    assert due == kills | {week: ["server"] for week in (3, 23, 43, 63, 83, 103)}
    often = Disturbances(station, kill_every=1, restart_every=1)
    assert [often.due(week) for week in range(1, 5)] == [[], ["worker"], ["child", "server"], ["run", "server"]]

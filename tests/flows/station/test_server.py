"""A station's server judges no run before the runs can have reached it."""

import anyio
import pytest

from flows.station import server


def test_missing_heartbeats_are_looked_for_some_time_after_the_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted from the first call, since a server may take long to start."""
    clock, judged = [1000.0], list[float]()
    monkeypatch.setattr(server.time, "monotonic", lambda: clock[0])

    async def judge() -> None:
        judged.append(clock[0])

    judge_later = server.after(90, judge)
    for now in (1000.0, 1089.0, 1090.0, 1095.0):
        clock[0] = now
        anyio.run(judge_later)
    assert judged == [1090.0, 1095.0]


def test_prefect_still_has_the_function_that_is_delayed() -> None:
    """The service calls it by its name in this module."""
    from inspect import getsource

    from prefect.server.events import triggers
    from prefect.server.events.services import triggers as service

    assert hasattr(triggers, "evaluate_proactive_triggers")
    assert "triggers.evaluate_proactive_triggers()" in getsource(service)

"""Monitors that ask often and at once cost one status in a few seconds."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from flows.station import health
from flows.station.health import CachedStatus
from flows.station.status_records import Status
from tests.support.statuses import a_status


def test_a_status_is_computed_once_until_it_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty requests at once get the same record; the clock is the test's."""
    clock, computed = [0.0], list[Status]()

    def compute() -> Status:
        computed.append(a_status(f"problem {len(computed)}"))
        return computed[-1]

    monkeypatch.setattr(health.time, "monotonic", lambda: clock[0])
    cached = CachedStatus(compute)
    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(lambda _: cached.get().problems, range(20))) == {("problem 0",)}
    clock[0] = health.MAX_AGE
    assert cached.get().problems == ("problem 0",)
    clock[0] = health.MAX_AGE + 0.1
    assert cached.get().problems == ("problem 1",)
    assert len(computed) == 2

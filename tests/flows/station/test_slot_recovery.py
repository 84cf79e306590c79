"""Slots of the GPU that no run holds, on a server that is not a station's: its leases cannot be read.

That a station frees them is shown in tests/system/test_station.py.
"""

from collections.abc import Iterator

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client

from flows.station.slot_recovery import describe_unheld

LIMIT = "gpu-77"


@pytest.fixture
def client(prefect_server: None) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as session:
        session.upsert_global_concurrency_limit_by_name(LIMIT, 1)
        yield session
        session.delete_global_concurrency_limit_by_name(LIMIT)


def test_slot_that_is_taken_while_no_run_is_at_work_is_named_with_what_to_do(client: SyncPrefectClient) -> None:
    """As after a restart of a server that keeps leases in memory; a slot of another name is not ours."""
    assert describe_unheld("http://server/api", None) == []
    client.increment_concurrency_slots([LIMIT], 1, "concurrency")
    (named,) = describe_unheld("http://server/api", None)
    assert f"the slot of {LIMIT!r} is taken" in named
    assert f"prefect gcl update {LIMIT} --active-slots 0" in named


def test_slot_of_a_run_at_work_is_not_named(client: SyncPrefectClient) -> None:
    """Whoever freed it would let two runs share the GPU."""
    client.increment_concurrency_slots([LIMIT], 1, "concurrency")

    @flow(name="evaluate")
    def evaluate() -> list[str]:
        return describe_unheld("http://server/api", None)

    assert evaluate() == []

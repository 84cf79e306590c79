"""The GPU lease: an outage of the server neither ends the work nor lets a second run onto the GPU.

Without a Prefect server there is no lease, and a missing limit is reported. The server is real; a proxy cuts it off.
tests/faults/test_station_outages.py and tests/system/test_station.py test the same with a station, its restarts and
killed runs.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_RETRY_JITTER_FACTOR, temporary_settings

from artifacts.errors import StageError
from tasks import concurrency_lease, gpu_lease, prefect_task, server_outage
from tasks.gpu_lease import hold_gpu
from tests.support.servers import Proxy, until


@pytest.fixture
def server_requests(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Requests that would have reached the server."""
    requests: list[Any] = []

    def hold_slot(*names: Any) -> None:
        requests.append(names)
        raise AssertionError("the server was asked")

    monkeypatch.setattr(gpu_lease, "hold_slot", hold_slot)
    return requests


def test_without_deployment_and_limit_there_is_no_lease(
    server_requests: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `dialogsum run`; and a stage for the CPU passes whatever is set."""
    with hold_gpu("gpu"):
        pass
    monkeypatch.setenv(gpu_lease.GPU_LIMIT_VARIABLE, "gpu")
    with hold_gpu("cpu"):
        pass
    assert server_requests == []


@pytest.mark.usefixtures("prefect_server")
def test_a_missing_limit_ends_the_stage_and_the_error_names_the_command_that_creates_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rather than share the GPU with whoever is on it."""
    monkeypatch.setenv(gpu_lease.GPU_LIMIT_VARIABLE, "no-such-limit")
    reached = []

    @flow
    def work() -> None:
        with hold_gpu("gpu"):
            reached.append(True)

    with pytest.raises(StageError, match=r"'no-such-limit'.*prefect gcl create no-such-limit --limit 1"):
        work()
    assert reached == []


class Gated:
    """A concurrency limit of one slot on the tests' server, read directly; flows reach the server through the proxy."""

    def __init__(self, client: SyncPrefectClient, proxy: Proxy, caplog: pytest.LogCaptureFixture) -> None:
        self.client, self.proxy, self.caplog, self.limit = client, proxy, caplog, f"gpu-{uuid4().hex}"
        self.leases: set[UUID | None] = set()
        client.upsert_global_concurrency_limit_by_name(self.limit, 1)

    @property
    def taken(self) -> int:
        return self.client.read_global_concurrency_limit_by_name(self.limit).active_slots

    def lose(self) -> None:
        """Have the server forget the lease and free its slot, as one does that was away for longer than the lease."""
        for held in self.leases - {None}:
            self.client.release_concurrency_slots_with_lease(held)

    def logged(self, text: str) -> bool:
        return any(text in record.getMessage() for record in self.caplog.records)

    def cut_until_logged(self, text: str) -> None:
        """Cut the server off, and let it be reached again once that is logged."""

        def mend() -> None:
            self.until(lambda: self.logged(text), text)
            self.proxy.mend()

        self.proxy.cut()
        threading.Thread(target=mend).start()

    def until(self, holds: Callable[[], Any], what: str) -> None:
        until(holds, what, 60)


@pytest.fixture
def gated(prefect_server: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Gated]:
    """With a gate that looks after its lease ten times a second."""
    for module, name in (
        (concurrency_lease, "RENEWAL_SECONDS"),
        (concurrency_lease, "RETRY_SECONDS"),
        (server_outage, "RETRY_SECONDS"),
        (gpu_lease, "LOCK_POLL_SECONDS"),
    ):
        monkeypatch.setattr(module, name, 0.1)
    # the tests' server keeps its leases in memory, and is never restarted
    monkeypatch.setattr(gpu_lease, "forgets_leases", lambda client: False)
    monkeypatch.setattr(server_outage._Server, "waits", True)
    caplog.set_level(logging.INFO, "prefect.flow_runs")
    url = str(PREFECT_API_URL.value())
    with get_client(sync_client=True) as client, Proxy(url) as proxy:
        limited = Gated(client, proxy, caplog)
        monkeypatch.setenv(gpu_lease.GPU_LIMIT_VARIABLE, limited.limit)
        take = concurrency_lease._Lease.acquire

        def seen(self: Any, client: Any) -> bool:
            taken = take(self, client)
            limited.leases.add(self.id)
            return taken

        monkeypatch.setattr(concurrency_lease._Lease, "acquire", seen)
        with temporary_settings({PREFECT_API_URL: proxy.url, PREFECT_CLIENT_RETRY_JITTER_FACTOR: 0}):
            yield limited


def test_work_continues_through_an_outage_and_keeps_its_slot(gated: Gated) -> None:
    """The log has one warning for the outage and one line for its end; progress is skipped meanwhile, then sent."""

    @flow
    def work() -> str:
        events = prefect_task.RunEvents("train")
        with hold_gpu("gpu"):
            events.progress(1, 4)
            gated.proxy.cut()
            gated.until(lambda: gated.logged("could not be renewed"), "the failed renewal")
            events.next_update = 0.0
            events.progress(2, 4)
            events.progress(3, 4)
            gated.proxy.mend()
            gated.until(lambda: gated.logged("is held again"), "the renewal")
            assert gated.taken == 1
        events.finish()
        return str(events.artifact)

    artifact = work()
    assert gated.taken == 0
    assert sum("could not be renewed" in record.getMessage() for record in gated.caplog.records) == 1
    assert sum("progress is not shown" in record.getMessage() for record in gated.caplog.records) == 1
    assert gated.client.request("GET", "/artifacts/{id}", path_params={"id": artifact}).json()["data"] == 75.0


def test_slot_that_the_server_gave_away_is_taken_again(gated: Gated) -> None:
    """After an outage longer than the lease the server has forgotten it; the run that holds the GPU continues."""

    @flow
    def work() -> None:
        with hold_gpu("gpu"):
            gated.lose()
            gated.until(lambda: gated.logged("is held again"), "a new lease")
            assert gated.taken == 1

    work()
    assert gated.logged("gave the slot to another run")
    assert gated.taken == 0


@pytest.mark.slow
def test_two_runs_never_share_the_gpu_even_if_the_server_gives_the_slot_away(gated: Gated) -> None:
    """The second run gets the slot while the first is at work, and waits for the first all the same."""
    order, first_works, let_go = list[str](), threading.Event(), threading.Event()

    @flow
    def first() -> None:
        with hold_gpu("gpu"):
            first_works.set()
            assert let_go.wait(60)
            order.append("first ends")

    @flow
    def second() -> None:
        with hold_gpu("gpu"):
            order.append("second begins")

    def run(work: Any) -> threading.Thread:
        def through_the_proxy() -> None:
            with temporary_settings({PREFECT_API_URL: gated.proxy.url}):
                work()

        thread = threading.Thread(target=through_the_proxy)
        thread.start()
        return thread

    one = run(first)
    assert first_works.wait(60)
    two = run(second)
    gated.until(lambda: len(asking(gated)) == 2, "the second to ask")
    while not gated.logged("still uses the GPU"):  # whoever is faster gets the slot that has become free
        gated.lose()
        assert order == []
    let_go.set()
    one.join(60)
    two.join(60)
    assert order == ["first ends", "second begins"]
    assert gated.taken == 0


def asking(gated: Gated) -> list[str]:
    return [record.getMessage() for record in gated.caplog.records if "waiting for the GPU slot" in record.getMessage()]


@pytest.mark.slow
def test_outage_at_the_end_of_the_work_neither_ends_it_nor_hides_its_error(gated: Gated) -> None:
    """The slot cannot be given back then; the server frees it when the lease ends."""

    @flow
    def work(fails: bool) -> str:
        with hold_gpu("gpu"):
            gated.caplog.clear()
            gated.cut_until_logged("could not be released")
            if fails:
                raise StageError("out of memory")
        return "done"

    assert work(False) == "done"
    assert gated.taken == 1
    gated.lose()
    with pytest.raises(StageError, match="out of memory"):
        work(True)


@pytest.mark.usefixtures("prefect_server")
def test_on_a_server_that_forgets_leases_a_lock_of_the_machine_alone_keeps_the_gpu(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The tests' server has Prefect's default: a slot that it forgot would stay taken. The log names the setting."""
    monkeypatch.setattr(gpu_lease, "LOCK_POLL_SECONDS", 0.1)
    caplog.set_level(logging.INFO, "prefect.flow_runs")
    limit, order = f"gpu-{uuid4().hex}", list[str]()
    monkeypatch.setenv(gpu_lease.GPU_LIMIT_VARIABLE, limit)
    first_works, let_go = threading.Event(), threading.Event()

    @flow
    def first() -> None:
        with hold_gpu("gpu"):
            first_works.set()
            assert let_go.wait(60)
            order.append("first ends")

    @flow
    def second() -> None:
        with hold_gpu("gpu"):
            order.append("second begins")

    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(limit, 1)
        threads = [threading.Thread(target=work) for work in (first, second)]
        threads[0].start()
        assert first_works.wait(60)
        threads[1].start()
        until(lambda: "still uses the GPU" in caplog.text, "the second to wait")
        assert client.read_global_concurrency_limit_by_name(limit).active_slots == 0
    let_go.set()
    for thread in threads:
        thread.join(60)
    assert order == ["first ends", "second begins"]
    assert "the Prefect server keeps leases in its memory" in caplog.text

"""Requests that wait for the Prefect server, and a run that is watched meanwhile: a real server behind a proxy."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.logging.handlers import APILogHandler
from prefect.runtime import flow_run
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_CLIENT_MAX_RETRIES,
    PREFECT_LOGGING_TO_API_ENABLED,
    temporary_settings,
)
from prefect.states import Cancelling, Crashed

from tasks import run_watch, server_outage
from tasks.run_watch import watched
from tests.support.servers import Proxy, until


@pytest.fixture
def direct(prefect_server: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """A client that reaches the server whatever the proxy does; looks and attempts follow each other fast."""
    monkeypatch.setattr(server_outage, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(run_watch, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(run_watch, "WORKER_GRACE_SECONDS", 0.3)
    caplog.set_level(logging.INFO, "prefect.flow_runs")
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def proxy(direct: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Between the tests' flows, which wait for their server, and the server. Prefect's own client gives up at once.

    No logs are sent: their thread would give up the server at a moment of its own.
    """
    APILogHandler().flush()
    with (
        Proxy(str(PREFECT_API_URL.value())) as between,
        temporary_settings(
            {PREFECT_API_URL: between.url, PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_LOGGING_TO_API_ENABLED: False}
        ),
    ):
        monkeypatch.setattr(server_outage._Server, "waits", True)
        yield between


def mended_when(proxy: Proxy, caplog: pytest.LogCaptureFixture, text: str) -> None:
    """Cut the server off, and let it be reached again once that is logged."""

    def mend() -> None:
        until(lambda: text in caplog.text, text, 60)
        proxy.mend()

    proxy.cut()
    threading.Thread(target=mend).start()


def test_a_run_waits_for_its_server_and_completes(
    direct: SyncPrefectClient, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    """An old client and a new one wait; the log has the outage once; the server has the event and the end."""

    @flow
    def work() -> str:
        with watched():
            mended_when(proxy, caplog, "does not answer")
            with get_client(sync_client=True) as mine, get_client(httpx_settings={}, sync_client=True) as another:
                assert mine.hello().is_success
                assert another.hello().is_success
            until(lambda: "answers again after" in caplog.text, "the end of the outage")
        return str(flow_run.id)

    run = work()
    assert direct.read_flow_run(UUID(run)).state_type == StateType.COMPLETED
    assert caplog.text.count("does not answer") == 1
    assert caplog.text.count("answers again after") == 1
    wanted = {"event": {"name": [run_watch.ANSWERS_AGAIN]}, "resource": {"id": [f"prefect.flow-run.{run}"]}}
    until(lambda: direct.request("POST", "/events/filter", json={"filter": wanted}).json()["total"] == 1, "the event")


@pytest.mark.usefixtures("proxy")
def test_a_request_that_the_server_refuses_is_not_repeated(direct: SyncPrefectClient) -> None:
    """A missing limit is an answer, also where requests wait."""
    with get_client(httpx_settings={}, sync_client=True) as client, pytest.raises(ObjectNotFound):
        client.read_global_concurrency_limit_by_name("no-such-limit")


THREE_REQUESTS = """
import time
from contextlib import suppress
import httpx
from prefect.client.orchestration import get_client
from tasks import server_outage

server_outage.RETRY_SECONDS = 0.1
server_outage.wait_through_outages()
with get_client(httpx_settings={}, sync_client=True) as client:
    for _ in range(2):
        began = time.monotonic()
        with suppress(httpx.TransportError):
            client.hello()
        print(time.monotonic() - began, flush=True)
    input()
    client.hello()
    print(server_outage._Server.given_up, flush=True)
"""


def test_requests_do_not_wait_forever(proxy: Proxy) -> None:
    """After one has waited for its time, the next fails at once; once the server answers, requests wait again.

    In a process of its own: here a thread of another test may have waited for longer already.
    """
    proxy.cut()
    environment = os.environ | {
        "PREFECT_API_URL": proxy.url,
        server_outage.MAX_OUTAGE_VARIABLE: "3",
    }
    command = [sys.executable, "-c", THREE_REQUESTS]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as requests:
        assert requests.stdin
        assert requests.stdout
        first, second = (float(requests.stdout.readline()) for _ in range(2))
        proxy.mend()
        answer, _ = requests.communicate("\n", timeout=60)
    assert first > 3 > second
    assert answer.strip() == "False"


def test_requests_that_do_not_matter_are_sent_once(proxy: Proxy) -> None:
    """Such as progress: the work would wait for it."""
    proxy.cut()
    with (
        get_client(httpx_settings={}, sync_client=True) as client,
        server_outage.without_waiting(),
        pytest.raises(httpx.TransportError),
    ):
        client.hello()


def test_a_run_that_works_is_not_dead(direct: SyncPrefectClient, caplog: pytest.LogCaptureFixture) -> None:
    """A server that was away marks it as Crashed for want of heartbeats: the run corrects that and completes."""

    @flow
    def work() -> str:
        with watched():
            run = UUID(str(flow_run.id))
            direct.set_flow_run_state(run, Crashed(message="no heartbeat for 300 s"))
            until(lambda: direct.read_flow_run(run).state_type == StateType.RUNNING, "the correction", 60)
        return str(run)

    assert direct.read_flow_run(UUID(work())).state_type == StateType.COMPLETED
    assert "had marked this run as Crashed (no heartbeat for 300 s), but it works" in caplog.text


def test_a_cancelled_run_whose_worker_does_not_notice_ends_itself(
    direct: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the signal of a worker, and a message that is true."""
    signals = list[int]()
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append(number))

    @flow
    def work() -> str:
        with watched():
            run = UUID(str(flow_run.id))
            direct.set_flow_run_state(run, Cancelling())
            until(lambda: signals, "the signal", 60)
        return str(run)

    state = direct.read_flow_run(UUID(work())).state
    assert state is not None
    assert signals == [15]


def test_a_run_that_was_cancelled_before_it_began_ends(
    direct: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect would leave it Cancelling. A run that was not cancelled goes on."""
    signals = list[int]()
    monkeypatch.setattr(os, "kill", lambda pid, number: signals.append(number))

    @flow
    def work() -> str:
        monkeypatch.setenv("PREFECT__FLOW_RUN_ID", str(flow_run.id))
        run_watch.end_if_cancelled()
        assert signals == []
        direct.set_flow_run_state(UUID(str(flow_run.id)), Cancelling())
        run_watch.end_if_cancelled()
        state = direct.read_flow_run(UUID(str(flow_run.id))).state
        assert state is not None
        return f"{state.name}: {state.message}"

    assert work() == "Cancelled: the run ended itself: it was cancelled before it began"
    assert signals == [15]

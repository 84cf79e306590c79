"""The station's Prefect server: it judges no run too early, and no page of another server reads or starts anything.

tests/flows/test_own_pages.py has the forms of foreign origins and names; here they meet Prefect's own application.
"""

import anyio
import pytest
from prefect.server.api.clients import OrchestrationClient
from prefect.settings import PREFECT_SERVER_API_AUTH_STRING, temporary_settings
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from flows.station import server
from flows.station.server import application

FOREIGN = {"Origin": "https://evil.example"}


@pytest.fixture(scope="module")
def web() -> TestClient:
    """A client of the server without a credential. Its database is not needed: refusals come before it."""
    with temporary_settings(restore_defaults={PREFECT_SERVER_API_AUTH_STRING}):
        return TestClient(application("127.0.0.1"), base_url="http://127.0.0.1:4200")


def test_pages_from_elsewhere_are_refused(web: TestClient) -> None:
    """Prefect alone would allow them all: also the question that browsers ask first, and the streams."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    assert web.get("/api/health", headers=FOREIGN).status_code == 403
    assert web.post("/api/flows/filter", json={}, headers=FOREIGN).status_code == 403
    preflight = web.options("/api/flows/filter", headers=FOREIGN | asked)
    assert (preflight.status_code, "access-control-allow-origin" in preflight.headers) == (403, False)
    for path in ("/api/events/in", "/api/events/out", "/api/logs/out"):
        with pytest.raises(WebSocketDisconnect), web.websocket_connect(path, headers={"Host": "127.0.0.1"} | FOREIGN):
            pass
    assert web.get("/api/health", headers={"Host": "evil.example:4200"}).status_code == 400


def test_its_own_page_and_programs_are_answered(web: TestClient) -> None:
    """Also a page that was opened under the other name of this machine."""
    for headers in ({}, {"Origin": "http://127.0.0.1:4200"}, {"Origin": "http://localhost:4200"}):
        assert web.get("/api/health", headers=headers).text == "true"


def test_actions_of_automations_are_answered() -> None:
    """They use Prefect's client for calls inside of the server; the end of dead runs depends on them."""
    with temporary_settings(restore_defaults={PREFECT_SERVER_API_AUTH_STRING}):
        application("127.0.0.1")
        client = OrchestrationClient()

    async def ask() -> str:
        async with client:
            return (await client._http_client.get("/health")).text

    assert anyio.run(ask) == "true"


def test_with_a_credential_it_answers_under_every_name() -> None:
    """Such as that of a reverse proxy: whoever has no credential gets nothing anyway."""
    with temporary_settings({PREFECT_SERVER_API_AUTH_STRING: "worker:password"}):
        web = TestClient(application("127.0.0.1"), base_url="https://station.example")
    assert web.get("/api/health", headers={"Origin": "https://station.example"}).text == "true"
    assert web.post("/api/flows/filter", json={}).status_code == 401


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

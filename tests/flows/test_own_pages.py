"""Web pages of others neither read nor change a server on the loopback interface, although the browser reaches it."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from flows.listening import own_names
from flows.own_pages import OwnPages

FOREIGN = [
    "https://evil.example",
    "http://evil.example:4200",
    "http://127.0.0.1.evil.example:4200",
    "http://127.0.0.1",
    "http://127.0.0.1:3000",
    "http://127.0.0.1:4200@evil.example",
    "http://evil.example@127.0.0.1:4200",
    "http://127.0.0.1:x",
    "null",
    "",
    "file://",
]


@pytest.fixture
def web() -> TestClient:
    """A client at a server that notes each call."""

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    app = Starlette(
        routes=[
            Route("/", lambda request: PlainTextResponse("done"), methods=["GET", "POST"]),
            WebSocketRoute("/socket", socket),
        ],
        middleware=[Middleware(OwnPages, names=own_names("127.0.0.1"))],
    )
    return TestClient(app, base_url="http://127.0.0.1:4200")


@pytest.mark.parametrize("origin", FOREIGN)
def test_a_page_from_elsewhere_is_refused(web: TestClient, origin: str) -> None:
    """By the Origin that browsers send: reads, writes and WebSockets, those of other ports of this machine included."""
    for method in ("GET", "POST"):
        assert web.request(method, "/", headers={"Origin": origin}).status_code == 403
    with pytest.raises(WebSocketDisconnect), web.websocket_connect("/socket", headers={"Origin": origin}):
        pass


@pytest.mark.parametrize("name", ["evil.example", "evil.example:4200", "127.0.0.1.evil.example", "www.localhost", ""])
def test_a_name_that_somebody_points_here_is_refused(web: TestClient, name: str) -> None:
    """DNS rebinding: to such a page it is the same origin."""
    headers = {"Host": name, "Origin": f"http://{name}"}
    assert web.post("/", headers=headers).status_code == 400
    with pytest.raises(WebSocketDisconnect), web.websocket_connect("/socket", headers=headers):
        pass


@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:4200", "http://localhost:4200"])
def test_own_pages_and_programs_are_served(web: TestClient, origin: str | None) -> None:
    """Programs send no Origin; the page may have been opened under another name of this machine."""
    headers = {"Origin": origin} if origin else {}
    assert web.post("/", headers=headers).text == "done"
    with web.websocket_connect("/socket", headers={"Host": "127.0.0.1:4200"} | headers):
        pass

"""The Prefect server of a station: `python -m flows.station.server HOST PORT`.

It is Prefect's own, as `prefect server start` runs it, but for two things. A server that has just started has received
no heartbeats while it was away, and would mark every run as Crashed before the runs reach it again: here it looks for
missing heartbeats a while later. And without a credential it refuses other host names and the requests of other
servers' pages, because Prefect allows every page to read and to start everything.
"""

import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import uvicorn
from prefect.server.api.server import create_app
from prefect.server.events import triggers
from prefect.settings import get_current_settings
from starlette.types import ASGIApp

from flows.listening import own_names
from flows.own_pages import OwnPages

REPORT_SECONDS = 300.0
"""As long as an automation waits for a heartbeat: time in which runs reach a server that has started."""


def application(host: str) -> ASGIApp:
    """Prefect's API and UI."""
    app = create_app(final=True)
    if get_current_settings().server.api.auth_string:
        return app
    # around the application, not in it: automations call it inside of this process, under a name of its own
    return OwnPages(app, own_names(host))


def after(seconds: float, judge: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], Coroutine[Any, Any, None]]:
    """`judge`, which does nothing until some seconds after its first call."""
    called_at: float | None = None

    async def judge_later() -> None:
        nonlocal called_at
        called_at = called_at or time.monotonic()
        if time.monotonic() - called_at >= seconds:
            await judge()

    return judge_later


if __name__ == "__main__":
    triggers.evaluate_proactive_triggers = after(REPORT_SECONDS, triggers.evaluate_proactive_triggers)
    settings = get_current_settings().server
    uvicorn.run(
        application(sys.argv[1]),
        host=sys.argv[1],
        port=int(sys.argv[2]),
        timeout_keep_alive=settings.api.keepalive_timeout,
        ws_ping_interval=settings.api.websocket_ping_interval,
        ws_ping_timeout=settings.api.websocket_ping_timeout,
        log_level=settings.logging_level.lower(),
    )

"""The Prefect server of the station: `python -m flows.station.prefect_server HOST PORT`.

It is Prefect's own, as `prefect server start` runs it. Without a credential it also refuses other host names and the
requests of other servers' pages, because Prefect allows every page to read and to start everything.
"""

import sys

import uvicorn
from fastapi import FastAPI
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings

from flows.listening import own_names
from flows.own_pages import OwnPages


def application(host: str) -> FastAPI:
    """Prefect's API and UI."""
    app = create_app(final=True)
    if not get_current_settings().server.api.auth_string:
        app.add_middleware(OwnPages, names=own_names(host))
    return app


if __name__ == "__main__":
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

"""Runs the application until a signal: the first one lets requests finish, the second one ends the process at once."""

import asyncio
import logging
import os
import socket
import sys
from types import FrameType

import uvicorn

from artifacts.errors import RequestError
from artifacts.text import one_line
from flows.listening import SERVE_TOKEN, in_url
from flows.serving.application import application
from flows.serving.config import ServeConfig

LOG = logging.getLogger("dialogsum.serve")


class Server(uvicorn.Server):
    """Answers 503 to new requests and to /health while it drains, so that a load balancer notices, then ends."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Unlike uvicorn's own, it does not raise the signal again afterwards: the exit code is 0."""
        chat = self.config.app.state.chat  # type: ignore[union-attr]
        if chat.draining:
            LOG.warning("ended at once: %d requests are lost", chat.in_progress)
            os._exit(128 + sig)
        chat.draining = True
        LOG.info("stopping: %d requests finish, within %g s", chat.in_progress, chat.limits.seconds)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second: whether the server should end."""
        chat = self.config.app.state.chat  # type: ignore[union-attr]
        if chat.draining and not chat.in_progress:
            self.should_exit = True
        return await super().on_tick(counter)


def serve(config: ServeConfig) -> None:
    """Serve until a signal. RequestError if the server cannot be started."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    LOG.setLevel(logging.INFO)
    app = application(config)
    listener = _listen(config)
    settings = uvicorn.Config(
        app,
        access_log=False,
        server_header=False,
        log_level="warning",
        timeout_graceful_shutdown=int(config.limits.seconds) + 1,
    )
    LOG.info(
        "http://%s:%d serves the champion of %s with %s; %s",
        in_url(config.host),
        config.port,
        app.state.chat.models.recipe,
        app.state.chat.engine.name,
        f"token from {SERVE_TOKEN}" if os.environ.get(SERVE_TOKEN) else "no token",
    )
    asyncio.run(Server(settings).serve(sockets=[listener]))


def _listen(config: ServeConfig) -> socket.socket:
    """A socket at the address. RequestError if it is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=2048)
    except OSError as error:
        raise RequestError(
            f"cannot listen at {config.host}:{config.port} ({one_line(error.strerror or error, 80)}): "
            "choose another --port or --host"
        ) from error

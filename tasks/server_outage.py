"""Outages of the Prefect server: requests of a run wait until the server answers again.

Prefect's client tries a request again for a few minutes, and not at all in a new client that has never reached the
server. In a deployed run, and where `wait_through_outages` was called, every request of the process waits, whoever
sends it: the flow engine, the log handler, a result block. Requests that do not matter, such as progress bars, are sent
once (`without_waiting`).
"""

import os
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import cache, wraps
from typing import Any

import anyio
import httpx
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from prefect.context import SettingsContext, get_settings_context
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES

MAX_OUTAGE_VARIABLE = "DIALOGSUM_MAX_SERVER_OUTAGE"
"""Environment variable with the time that a request of a run waits for the server, s."""
MAX_OUTAGE_SECONDS = 3600.0
"""The same without that variable."""
RETRY_SECONDS = 2.0
"""Time between two attempts."""
TRANSIENT_STATUSES = (408, 429, 502, 503, 504)
"""HTTP statuses of a busy server, or of a proxy that cannot reach it."""


def is_outage(error: BaseException) -> bool:
    """Whether a request failed because the server could not be reached, rather than because it refused."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in TRANSIENT_STATUSES
    # Prefect wraps connection errors in its own
    return isinstance(error, httpx.TransportError) or (error.__cause__ is not None and is_outage(error.__cause__))


class _Server:
    """What this process knows of its Prefect server."""

    waits = "PREFECT__FLOW_RUN_ID" in os.environ
    """Whether requests wait for it. The variable is set in the process of a deployed run."""
    patience: float | None = None
    """How long a request waits, s; None: as the environment variable says."""
    given_up = False
    """Whether a request has waited for as long as it may: the others then fail at once, until one gets an answer."""


_sent_once: ContextVar[bool] = ContextVar("_sent_once", default=False)


def wait_through_outages(seconds: float | None = None) -> None:
    """From now on, the requests of this process wait for the server: so long, or as the environment variable says.

    Not for the ephemeral server of a run without PREFECT_API_URL, which does not come back if it ends.
    """
    _Server.waits, _Server.patience = PREFECT_API_URL.value() is not None, seconds


def stop_waiting() -> None:
    """Leave it to Prefect's client again: a run that is being ended must not wait for an hour to say so."""
    _Server.waits = False


@contextmanager
def without_waiting() -> Iterator[None]:
    """Send the requests of this block once."""
    token = _sent_once.set(True)
    try:
        yield
    finally:
        _sent_once.reset(token)


class _Attempts:
    """The attempts of one request."""

    def __init__(self) -> None:
        self.once = _sent_once.get()
        self.failed_at: float | None = None

    def settings(self) -> AbstractContextManager[Any]:
        """Without the retries of Prefect's client, whose pauses double: the request would wait after the outage."""
        if not (self.once or _Server.waits):
            return nullcontext()
        return SettingsContext(profile=get_settings_context().profile, settings=_without_retries())

    def succeeded(self) -> None:
        _Server.given_up = False

    def ends(self, error: Exception) -> bool:
        """Whether a failed attempt was the last one."""
        if self.once or not _Server.waits or _Server.given_up or not is_outage(error):
            return True
        self.failed_at = self.failed_at or time.monotonic()
        patience = _Server.patience or float(os.environ.get(MAX_OUTAGE_VARIABLE, MAX_OUTAGE_SECONDS))
        if time.monotonic() - self.failed_at < patience:
            return False
        _Server.given_up = True
        return True


@cache
def _without_retries() -> Any:
    """Prefect's settings with PREFECT_CLIENT_MAX_RETRIES 0; a copy takes 50 ms."""
    return get_settings_context().settings.copy_with_update({PREFECT_CLIENT_MAX_RETRIES: 0})


def _waiting(send: Callable[..., httpx.Response]) -> Callable[..., httpx.Response]:
    @wraps(send)
    def send_and_wait(*args: Any, **kwargs: Any) -> httpx.Response:
        attempts = _Attempts()
        while True:
            try:
                with attempts.settings():
                    response = send(*args, **kwargs)
            except Exception as error:
                if attempts.ends(error):
                    raise
                time.sleep(RETRY_SECONDS)
            else:
                attempts.succeeded()
                return response

    return send_and_wait


def _waiting_async(
    send: Callable[..., Coroutine[Any, Any, httpx.Response]],
) -> Callable[..., Coroutine[Any, Any, httpx.Response]]:
    @wraps(send)
    async def send_and_wait(*args: Any, **kwargs: Any) -> httpx.Response:
        attempts = _Attempts()
        while True:
            try:
                with attempts.settings():
                    response = await send(*args, **kwargs)
            except Exception as error:
                if attempts.ends(error):
                    raise
                await anyio.sleep(RETRY_SECONDS)
            else:
                attempts.succeeded()
                return response

    return send_and_wait


PrefectHttpxSyncClient.send = _waiting(PrefectHttpxSyncClient.send)  # type: ignore[method-assign]
PrefectHttpxAsyncClient.send = _waiting_async(PrefectHttpxAsyncClient.send)  # type: ignore[method-assign]

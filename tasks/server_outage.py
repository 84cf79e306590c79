"""Outages of the Prefect server: a run continues while the server restarts, and reports afterwards.

Inside a flow run Prefect's client retries a request as often as PREFECT_CLIENT_MAX_RETRIES (prefect.yaml) allows, but
without logging it, and not in a new client that has never reached the server. `retry` is for those requests. Requests
that do not matter, such as progress bars, are skipped during an outage (`is_outage`).
"""

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import httpx
from prefect import get_run_logger
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from artifacts.text import one_line

P = ParamSpec("P")
T = TypeVar("T")

MAX_OUTAGE_SECONDS = 240.0
"""How long a request is retried."""
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


def retry(request: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Send a request, retry it while the server cannot be reached, and return its result. Logs one warning.

    Raises what the request raises, an outage only after MAX_OUTAGE_SECONDS.
    """
    since: float | None = None
    while True:
        began = time.monotonic()
        try:
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 1}):
                answer = request(*args, **kwargs)
        except Exception as error:
            if not is_outage(error):
                raise
            failed = time.monotonic()
            if since is None or failed - began > 2 * MAX_OUTAGE_SECONDS:  # it waited for its turn until then
                since = failed
                get_run_logger().warning("the Prefect server does not answer (%s): trying again", one_line(error, 120))
            if failed - since > MAX_OUTAGE_SECONDS:
                raise
            time.sleep(RETRY_SECONDS)
        else:
            if since is not None:
                get_run_logger().info("the Prefect server answers again after %.0f s", time.monotonic() - since)
            return answer

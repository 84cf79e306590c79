"""Outages of the Prefect server: a run goes on through a restart of the server, and reports afterwards what it could not.

Inside a flow run Prefect's client repeats a request by itself, as often as PREFECT_CLIENT_MAX_RETRIES (prefect.yaml)
allows. It does not where it has never reached the server, as in a new client, and it does so without a word in the log:
`retry` is for those requests. What does not matter, such as a progress bar, is skipped (`is_outage`).
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

PATIENCE = 240.0
"""Seconds for which a request is repeated."""
PAUSE = 2.0
"""Seconds between two tries."""
TEMPORARY = (408, 429, 502, 503, 504)
"""HTTP statuses of a server that is busy, or that a proxy cannot reach."""


def is_outage(error: BaseException) -> bool:
    """Whether a request failed because the server could not be reached, rather than because it refused."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in TEMPORARY
    # Prefect wraps the error of the connection in errors of its own
    return isinstance(error, httpx.TransportError) or (error.__cause__ is not None and is_outage(error.__cause__))


def retry(request: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The answer to a request that is repeated while the server cannot be reached, with one warning.

    Raises what the request raises, after PATIENCE seconds if it is an outage.
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
            if since is None or failed - began > 2 * PATIENCE:  # it waited for its turn until then
                since = failed
                get_run_logger().warning("the Prefect server does not answer (%s): trying again", one_line(error, 120))
            if failed - since > PATIENCE:
                raise
            time.sleep(PAUSE)
        else:
            if since is not None:
                get_run_logger().info("the Prefect server answers again after %.0f s", time.monotonic() - since)
            return answer

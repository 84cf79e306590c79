"""Checks that the Prefect server of a run answers, before the run starts and while it lasts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from httpx import HTTPError
from prefect import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL

from artifacts.errors import RequestError, StageError
from artifacts.text import one_line
from tasks.reporting.links import REPORTS_URL
from tasks.server_outage import wait_through_outages


def check_server() -> None:
    """RequestError if PREFECT_API_URL names a server that does not answer or refuses the credential."""
    url = PREFECT_API_URL.value()
    if not url:  # an ephemeral server will be started
        return
    try:
        with get_client(sync_client=True) as client:
            client.read_concurrency_limits(limit=1, offset=0)
    except PrefectHTTPStatusError as error:
        if error.response.status_code not in (401, 403):
            raise
        raise RequestError(
            f"the Prefect server {url} refuses the credential: set PREFECT_API_AUTH_STRING to the value of the "
            "server's PREFECT_SERVER_API_AUTH_STRING"
        ) from error
    except (RuntimeError, HTTPError) as error:
        raise RequestError(
            f"the Prefect server {url} does not answer ({one_line(error, 120)}): start it, or unset PREFECT_API_URL"
        ) from error


def find_reports() -> None:
    """Let the run link to the report server of a station on this machine, if it uses the station's server and store."""
    from flows.station.supervisor import reports_url

    if url := reports_url(PREFECT_API_URL.value()):
        os.environ.setdefault(REPORTS_URL, url)


@contextmanager
def answering() -> Iterator[None]:
    """Wait for a server that goes away during a run; StageError if it does not come back in time."""
    wait_through_outages()
    try:
        yield
    except HTTPError as error:
        raise StageError(
            f"the Prefect server {PREFECT_API_URL.value() or 'of this run'} does not answer as expected "
            f"({one_line(f'{type(error).__name__} {error}', 120)}): run the same command again once it is back; "
            "finished stages are kept"
        ) from error

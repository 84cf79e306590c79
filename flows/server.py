"""Whether the Prefect server that a run would use answers."""

from httpx import HTTPError
from prefect import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL

from artifacts.errors import RequestError, one_line


def check_server() -> None:
    """RequestError if PREFECT_API_URL names a server that does not answer, or that wants another credential."""
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
            f"the Prefect server {url} wants another credential: set PREFECT_API_AUTH_STRING to that of its "
            "PREFECT_SERVER_API_AUTH_STRING"
        ) from error
    except (RuntimeError, HTTPError) as error:
        raise RequestError(
            f"the Prefect server {url} does not answer ({one_line(error, 120)}): start it, or unset PREFECT_API_URL"
        ) from error

"""The credential of the station's own Prefect server, which its report server requires as well."""

import base64
import os
import secrets
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from artifacts.errors import RequestError
from flows.listening import PREFECT_CREDENTIAL

CLIENTS_CREDENTIAL = "PREFECT_API_AUTH_STRING"


def client_settings() -> dict[str, str]:
    """The credential for clients on this machine: their own if they have one, else the server's."""
    credential = os.environ.get(CLIENTS_CREDENTIAL) or os.environ.get(PREFECT_CREDENTIAL)
    return {CLIENTS_CREDENTIAL: credential} if credential else {}


def is_authorized(authorization: str) -> bool:
    """Whether this value of the header `Authorization` has the credential of the servers, if they need one."""
    credential = os.environ.get(PREFECT_CREDENTIAL, "")
    expected = f"Basic {base64.b64encode(credential.encode()).decode()}"
    return not credential or secrets.compare_digest(authorization.encode(), expected.encode())


def check_credential(url: str) -> None:
    """RequestError if the server at `url`, which an earlier command has started, asks for another credential."""
    basic = base64.b64encode(os.environ.get(CLIENTS_CREDENTIAL, "").encode()).decode()
    request = Request(f"{url}/admin/version", headers={"Authorization": f"Basic {basic}"})  # noqa: S310  # our own URL
    try:
        urlopen(request, timeout=60).close()  # noqa: S310
    except HTTPError as error:
        if error.code == 401:
            raise RequestError(
                f"the station at {url} was started with another credential: set {PREFECT_CREDENTIAL} to that one"
            ) from error
        raise

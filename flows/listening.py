"""Which machines reach a server of this project: this one alone, or others, which need a credential."""

import ipaddress
import os

from artifacts.errors import RequestError

PREFECT_CREDENTIAL = "PREFECT_SERVER_API_AUTH_STRING"
"""Environment variable: the credential `user:password` of the Prefect server and of the report server."""
SERVE_TOKEN = "DIALOGSUM_SERVE_TOKEN"  # noqa: S105  # the name of the variable
"""Environment variable: the bearer token of `dialogsum serve`."""
_EXAMPLES = {PREFECT_CREDENTIAL: "worker:$(openssl rand -hex 32)", SERVE_TOKEN: "$(openssl rand -hex 32)"}
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104  # compared with, not listened on


def is_loopback(host: str) -> bool:
    """Whether `host` is an address or the name of this machine's loopback interface."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_names(host: str) -> list[str]:
    """The names by which this machine reaches a server that listens at the loopback address `host`."""
    return ["localhost", "127.0.0.1", "[::1]", in_url(host)]


def in_url(host: str) -> str:
    """`host` as a URL of this machine has it."""
    if host in WILDCARDS:
        return "127.0.0.1" if host == WILDCARDS[0] else "[::1]"
    return f"[{host}]" if ":" in host else host


def credential_for(host: str, variable: str) -> str:
    """The credential in the environment variable; empty: none. RequestError if other machines reach `host` without."""
    credential = os.environ.get(variable, "").strip()
    if not credential and not is_loopback(host):
        raise RequestError(
            f"--host {host} lets other machines in: set a credential, such as "
            f"`export {variable}={_EXAMPLES[variable]}`, or leave out --host"
        )
    return credential

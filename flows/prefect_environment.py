"""Environment variables that a run sets for Prefect, unless they are set already."""

import os
from pathlib import Path

from artifacts.errors import RequestError

HEARTBEAT_SECONDS = 30
"""Time between two heartbeats of a run, the same as in prefect.yaml. Prefect's own default is 180 s.

A station marks a run as Crashed after five minutes without a heartbeat (flows/station/provisioning.py).
"""


def configure_prefect(debug: bool = False) -> None:
    """Set Prefect's environment variables for this process. Call it before Prefect is imported, which reads them.

    debug: let Prefect's own log through to the terminal.
    """
    defaults = {
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # the default of 20 s is too short on a busy machine
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO" if debug else "CRITICAL",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    }
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    parent = next(folder for folder in (home, *home.parents) if folder.exists())
    if not os.access(parent, os.W_OK):
        raise RequestError(f"{home} cannot be written: set PREFECT_HOME or HOME to a folder that can be written")
    for name, value in defaults.items():
        os.environ.setdefault(name, value)

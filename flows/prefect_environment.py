"""Environment variables that a run sets for Prefect, unless they are set already."""

import os

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
    for name, value in defaults.items():
        os.environ.setdefault(name, value)

"""The environment of a station's processes: where Prefect's server is, and how it is set."""

import os

from flows.station.processes import station_folder
from flows.station.server_credential import client_settings

DEFAULTS = {
    # without host, so that the UI works under each name of the server, that of a reverse proxy included
    "PREFECT_SERVER_UI_API_URL": "/api",
    # in memory, Prefect's default, they are forgotten when the server is restarted, and their slots stay taken
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # or a server that was down for longer than a minute forgets the runs whose heartbeats it waited for
    "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER": "P7D",
    # marking many queued runs as late at once makes SQLite transactions fail
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "600",
    # runs that ended 90 days ago with their logs and artifacts, as well as events after 7 days; Prefect removes by
    # default events alone
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_LOGGING_FORMATTERS_STANDARD_DATEFMT": "%Y-%m-%d %H:%M:%S",
}
"""Prefect's settings for a station, unless the environment has others."""


def station_environment(url: str) -> dict[str, str]:
    """Environment variables of every process of the station whose server has the API address `url`."""
    mine = {"PREFECT_HOME": str(station_folder()), "PREFECT_API_URL": url, "DO_NOT_TRACK": "1"}
    mine |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    return mine | client_settings() | {name: os.environ.get(name, value) for name, value in DEFAULTS.items()}

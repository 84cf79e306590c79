"""The status of the station on this machine, from the files of its processes and from what its server knows."""

import os
from collections.abc import Sequence
from datetime import UTC, datetime

from artifacts.errors import StageError
from flows.station.environment import station_environment
from flows.station.processes import (
    HEALTH,
    answers,
    process_names,
    read_process_file,
    running_process,
    station_folder,
)
from flows.station.server_credential import check_credential
from flows.station.status_records import Process, Status


def current_status() -> Status:
    """The status of the store and of the station on this machine, or else of the server that PREFECT_API_URL names."""
    names, noted = process_names(), read_process_file("server")
    own = noted.get("url", "") if names else ""
    if own:
        os.environ.update(station_environment(own))
    from flows.station.station_status import collect  # Prefect, which it imports, reads its settings once

    server = running_process("server")
    return collect(
        folder=station_folder(),
        processes=[_describe(name) for name in names],
        server=own or os.environ.get("PREFECT_API_URL") or None,
        began=datetime.fromtimestamp(server.create_time(), UTC) if server else None,
        log_start=noted.get("log_start", 0),
        store_of=read_process_file("reports").get("store") if names else None,
    )


def print_status() -> Sequence[str]:
    """Print it, and return its problems. RequestError if the server refuses the credential."""
    url = read_process_file("server").get("url", "")
    os.environ.update(station_environment(url))
    if answers(url):
        check_credential(url)
    status = current_status()
    from flows.station.station_report import station_lines  # Prefect has its settings by now

    print("\n".join([*station_lines(status), *(f"PROBLEM: {problem}" for problem in status.problems)]))
    return status.problems


def raise_problems(problems: Sequence[str]) -> None:
    """StageError with the first of these problems, if there is one."""
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise StageError(f"attention is needed: {problems[0]}{more}")


def _describe(name: str) -> Process:
    process, url = running_process(name), read_process_file(name).get("url")
    return Process(
        name=name,
        pid=process.pid if process else None,
        log=str(station_folder() / f"{name}.log"),
        version=read_process_file(name).get("version"),
        url=url,
        answers=answers(url, HEALTH.get(name, "/health")) if url else None,
    )

"""dialogsum station status: what runs, where, the next scheduled run, and what is wrong."""

from datetime import UTC, datetime
from pathlib import Path

import psutil
from prefect.client.orchestration import get_client

from flows.integrations.announcements import announced_to
from flows.integrations.refused_deliveries import refused_deliveries
from flows.station.schedules import check_schedules
from flows.station.server_log import read_errors
from flows.station.slot_recovery import describe_unheld


def report(
    folder: Path, processes: dict[str, psutil.Process | None], servers: dict[str, tuple[str, bool]], log_start: int
) -> list[str]:
    """Print the state of a station. Returns what is wrong with it, one line each.

    folder: the station's files.
    processes: of each part of the station, None where it is dead.
    servers: address of `server` and `reports`, and whether it answers.
    log_start: bytes of the server's log that were there before the server was started (server_log.read_errors).
    """
    problems = []
    for name, process in processes.items():
        print(f"{name}: {f'runs, process {process.pid}' if process else 'DEAD'}; log {folder / name}.log")
        if process is None:
            problems.append(f"{name} is dead ({folder / name}.log): `dialogsum station up` starts it again")
    for name, (address, answers) in servers.items():
        ui = f"; UI {address.removesuffix('/api')}" if name == "server" else ""
        print(f"{name}: {address}, {'answers' if answers else 'DOES NOT ANSWER'}{ui}")
        if processes.get(name) is not None and not answers:
            problems.append(f"{name} does not answer at {address} ({folder / name}.log)")
    url, answers = servers.get("server", ("", False))
    print(f"database and settings: {folder}")
    print(f"to use it from a shell: export PREFECT_API_URL={url}")
    server = processes.get("server")
    if server is not None and answers:
        lines, wrong = check_schedules(datetime.fromtimestamp(server.create_time(), UTC))
        print("\n".join(lines))
        problems += [*wrong, *describe_unheld(url, folder)]
        with get_client(sync_client=True) as client:
            print(f"announcements go to: {', '.join(announced_to(client)) or 'nobody'}")
            problems += refused_deliveries(client, datetime.now(UTC))
    return problems + _log_problems(folder / "server.log", log_start)


def _log_problems(log: Path, start: int) -> list[str]:
    errors = read_errors(log, start, datetime.now())  # local time, as in the log
    if errors.locked or errors.lost:
        print(
            f"SQLite was busy {errors.locked} times in the last 24 h, {errors.lost} events were dropped after several "
            'tries: see "Errors in the server\'s log" in docs/how-to/station.md'
        )
    if not errors.count:
        return []
    return [f"{errors.count} errors in the server's log in the last 24 h, the last: {errors.last} ({log})"]

"""Output of `dialogsum station up` and `dialogsum station status`: processes, addresses, the next scheduled runs."""

from flows.station.schedules import next_run
from flows.station.status_records import Status


def station_lines(status: Status) -> list[str]:
    """One line each for the processes, the servers, the schedules and what else a user of the station needs."""
    lines = [
        f"{part.name}: {f'runs, process {part.pid}' if part.pid else 'DEAD'}; log {part.log}"
        for part in status.processes
    ]
    for part in status.processes:
        if part.url:
            ui = f"; UI {part.url.removesuffix('/api')}" if part.name == "server" else ""
            lines.append(f"{part.name}: {part.url}, {'answers' if part.answers else 'DOES NOT ANSWER'}{ui}")
    lines.append(f"database and settings: {status.station}")
    server = status.server
    if server:
        lines.append(f"to use it from a shell: export PREFECT_API_URL={server.url}")
    if server and server.answers:
        active = [schedule for schedule in server.schedules if schedule.active]
        lines += [f"next scheduled run: {each.deployment}, {next_run(each)}" for each in active]
        lines += [] if active else ["next scheduled run: none, since no schedule is active"]
        lines.append(f"announcements go to: {', '.join(server.announced_to) or 'nobody'}")
    return [*lines, *status.notes]

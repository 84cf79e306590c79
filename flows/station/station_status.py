"""The status of a store and its station, for `dialogsum status`, `dialogsum station status` and `/health`."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from httpx import HTTPError
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException, PrefectHTTPStatusError

from artifacts.artifact_store import Store
from artifacts.errors import RequestError, StageError
from artifacts.text import one_line
from artifacts.timestamps import timestamp_now
from flows.integrations.announcements import announced_to
from flows.integrations.refused_deliveries import refused_deliveries
from flows.station.schedules import check_schedules
from flows.station.server_log import read_errors
from flows.station.server_status import check_pools, gpu_slots, last_failure
from flows.station.slot_recovery import describe_unheld
from flows.station.status_records import PACKAGE, ChampionInForce, Disk, Process, Server, Status
from flows.station.store_status import champions_in_force, check_disks

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
"""Start of a server that somebody else runs, of which nobody here knows when it was started."""


def collect(
    folder: Path,
    processes: list[Process],
    server: str | None,
    began: datetime | None,
    log_start: int,
    store_of: str | None,
) -> Status:
    """The whole picture. What cannot be reached is a problem, not an error.

    folder: the station's files.
    processes: the parts of the station on this machine.
    server: API address of the Prefect server, if there is one.
    began: when the server was started, if this machine runs it.
    log_start: bytes of the server's log that were there before the server was started (server_log.read_errors).
    store_of: the store that the station uses, if it is known.
    """
    problems, notes = _process_problems(processes), _version_notes(processes)
    champions, disks, wrong = _store_status(folder)
    problems += wrong
    of_server, wrong = _server_status(folder, processes, server, began)
    problems += wrong
    if processes:
        wrong, more = _log_problems(folder / "server.log", log_start)
        problems, notes = problems + wrong, notes + more
    store = _store_name()
    if store_of not in (None, store):
        notes.append(f"the station uses another store, {store_of}: `DIALOGSUM_STORE={store_of} dialogsum status`")
    return Status(
        ok=not problems,
        at=timestamp_now(),
        problems=tuple(problems),
        notes=tuple(notes),
        store=store,
        champions=None if champions is None else tuple(champions),
        disks=tuple(disks),
        station=str(folder),
        processes=tuple(processes),
        server=of_server,
    )


def _process_problems(processes: list[Process]) -> list[str]:
    problems = []
    for part in processes:
        if part.pid is None:
            problems.append(f"{part.name} is dead ({part.log}): `dialogsum station up` starts it again")
        elif part.answers is False:
            problems.append(
                f"{part.name} does not answer at {part.url} ({part.log}): `kill {part.pid}`, then "
                "`dialogsum station up`"
            )
    return problems


def _version_notes(processes: list[Process]) -> list[str]:
    """A server that was started by an earlier version keeps that version's settings, such as where it keeps leases."""
    earlier = [part.name for part in processes if part.pid is not None and part.version != version(PACKAGE)]
    if not earlier:
        return []
    return [
        f"started by another version of this project: {', '.join(earlier)}; `dialogsum station down` and "
        "`dialogsum station up` restart the station with the settings of this one"
    ]


def _store_name() -> str:
    try:
        return str(Store.current().root)
    except RequestError:
        return ""


def _store_status(folder: Path) -> tuple[list[ChampionInForce] | None, list[Disk], list[str]]:
    """Champions (None if the store cannot be read), disks, problems."""
    try:
        store = Store.current()
        disks, problems = check_disks(store, folder)
    except (RequestError, OSError) as error:
        return None, [], [one_line(error, 400)]
    try:
        return champions_in_force(store), disks, problems
    except (RequestError, StageError) as error:
        return None, disks, [*problems, one_line(error, 400)]
    except Exception as error:  # a client of an object store lets through whatever its libraries raise
        why = one_line(f"{type(error).__name__}: {error}", 300)
        return None, disks, [*problems, f"the store {store.root} cannot be read ({why})"]


def _server_status(
    folder: Path, processes: list[Process], url: str | None, began: datetime | None
) -> tuple[Server | None, list[str]]:
    """What the Prefect server knows. If a process of this station is the server, its silence is reported already."""
    if url is None:
        return None, []
    own = next((part for part in processes if part.name == "server"), None)
    if own is not None and not own.answers:
        return Server(url=url, answers=False), []
    ui = url.removesuffix("/api")
    alive = {part.name for part in processes if part.pid is not None and part.name.endswith("-worker")}
    # once more than a few seconds is more than a monitor waits for
    try:
        with get_client(sync_client=True, httpx_settings={"timeout": 10}) as client:
            schedules, problems = check_schedules(client, began or LONG_AGO, ui)
            pools, wrong = check_pools(client, alive)
            problems += wrong
            found = Server(
                url=url,
                answers=True,
                schedules=tuple(schedules),
                pools=tuple(pools),
                gpu=tuple(gpu_slots(client)),
                last_failure=last_failure(client, ui),
                announced_to=tuple(announced_to(client)),
            )
            problems += [*describe_unheld(url, folder if own else None), *refused_deliveries(client, datetime.now(UTC))]
    except PrefectHTTPStatusError as error:
        refused = error.response.status_code in (401, 403)
        advice = "set PREFECT_API_AUTH_STRING to its credential" if refused else "see its log"
        return Server(url=url, answers=False), [
            f"the Prefect server {url} answers {error.response.status_code} ({one_line(error, 120)}): {advice}"
        ]
    except (RuntimeError, HTTPError, PrefectException, ValueError) as error:
        why = one_line(f"{type(error).__name__} {error}", 160)
        return Server(url=url, answers=False), [
            f"the Prefect server {url} does not answer as expected ({why}): start it, or correct PREFECT_API_URL"
        ]
    return found, problems


def _log_problems(log: Path, start: int) -> tuple[list[str], list[str]]:
    """Problems and notes from the server's log."""
    errors, notes = read_errors(log, start, datetime.now()), []  # local time, as in the log
    if errors.locked or errors.lost:
        notes.append(
            f"SQLite was busy {errors.locked} times in the last 24 h, {errors.lost} events were dropped after several "
            'tries: see "Errors in the server\'s log" in docs/how-to/station.md'
        )
    if not errors.count:
        return [], notes
    return [f"{errors.count} errors in the server's log in the last 24 h, the last: {errors.last} ({log})"], notes

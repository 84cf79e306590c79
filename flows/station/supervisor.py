"""dialogsum station: starts, restarts and stops a Prefect server and its workers on this machine.

up      starts the processes that do not run and updates the deployments; safe to call at any time
down    stops runs, workers and server, in this order, so that the server records how the runs ended
status  prints the processes, their addresses, the next scheduled run and problems (exit code 1)

All files are in one folder, `.station` or the one that DIALOGSUM_STATION names: Prefect's database and settings, and a
log and a process id for each process. A station listens on two ports, on the loopback interface unless --host names
another: the Prefect server, and the report server (flows/station/report_server.py) on the next port. With --serve it
also keeps `dialogsum serve` running.
"""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from datetime import UTC, datetime
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from artifacts.artifact_store import Store
from artifacts.code_fingerprint import ROOT
from artifacts.errors import RequestError, StageError
from artifacts.text import one_line
from artifacts.user_paths import project_folder, user_path
from flows.integrations.apprise_urls import URLS, requested_urls
from flows.listening import PREFECT_CREDENTIAL, SERVE_TOKEN, credential_for, in_url
from flows.station.default_recipe import choose, deployments_with, known_recipe, newest_champion
from flows.station.log_rotation import rotate
from flows.station.server_credential import check_credential, client_settings
from flows.station.status_records import PACKAGE, Process, Status
from tasks.reporting.links import REPORTS_URL
from tasks.workers.gpus import gpu_names

PATIENCE = 180.0
"""Seconds that the server may take to answer: the first start makes its database."""
SERVE_PATIENCE = 30.0
"""Seconds for the champion to be loaded; afterwards `station up` goes on and reports that it does not answer."""
GRACE = 30.0
"""Seconds between asking a process to stop and killing it."""
SERVERS = ("server", "reports", "serve")
"""Names of the processes that take no runs."""
HEALTH = {"reports": "/live"}
"""Name of a server -> path at which it answers 200 as long as it works, where that is not /health."""
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
RUNS = str(max(2, os.cpu_count() or 1))
"""That the CPU pool's worker has at once, each a process of half a GiB; more of them queue."""


def up(
    port: int,
    host: str,
    gpu_workers: int,
    notify: list[str],
    reports_port: int | None = None,
    recipe: str | None = None,
    serve_port: int | None = None,
) -> None:
    """Start server and workers; create pools, limits, automations and deployments. Restarts what has died.

    notify: Apprise URLs that get announcements. Empty: those of DIALOGSUM_NOTIFY, or of an earlier `up`.
    serve_port: also start `dialogsum serve` there. None: only if an earlier `up` did.
    """
    if recipe is not None:
        known_recipe(recipe)
    credential_for(host, PREFECT_CREDENTIAL)
    if serve_port is not None:
        credential_for(host, SERVE_TOKEN)
    announce_to = requested_urls(notify)
    os.environ.pop(URLS, None)  # or every run would inherit the credentials
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(PermissionError):  # a folder of somebody else's
        folder.chmod(0o700)  # logs, parameters and the key of Prefect's secret blocks are in it
    url = f"http://{in_url(host)}:{port}/api"
    running = _process("server")
    if running is not None and (other_url := _read_process_file("server")["url"]) != url:
        raise RequestError(
            f"the station already runs at {other_url}: run `dialogsum station down` first, or use the same port"
        )
    if running is None and _answers(url):
        raise RequestError(f"another server answers at {url}: choose another port with --port")
    limits = ["gpu"] if gpu_workers == 1 else [f"gpu-{n + 1}" for n in range(gpu_workers)]
    if others := [name for name in _names() if name.startswith("gpu") and name.removesuffix("-worker") not in limits]:
        raise RequestError(
            f"{others[0]} runs, started for another number of GPU workers: run `dialogsum station down` first"
        )
    reports = _reports_url(url, reports_port)
    # for the client and the processes below alike, which run in another folder
    os.environ.update(_environment(url) | {"DIALOGSUM_STORE": str(Store.current().root)})
    os.environ.setdefault(REPORTS_URL, reports)  # whoever set another knows how browsers reach it
    if running is None:
        _announce(f"starting the Prefect server at {url}, which takes 10 to 40 s")
        _start("server", [host, str(port)], _our_code(), module="flows.station.server", url=url)
    if _process("reports") is None:
        record = {"url": reports, "store": os.environ["DIALOGSUM_STORE"]}
        port_of_reports = reports.rsplit(":", 1)[1]
        environment = _our_code() | {"DIALOGSUM_STATION": str(folder)}  # its /health reports on this station
        _start("reports", [host, port_of_reports], environment, module="flows.station.report_server", **record)
    _wait_for("server", url)
    _wait_for("reports", reports)
    check_credential(url)
    _announce("creating pools, limits, automations and deployments, which takes 10 to 30 s")
    _deploy(limits, announce_to, recipe)
    _free_slots()
    if _process("cpu-worker") is None:
        _start_worker("cpu-worker", "cpu-pool", RUNS)
    for n, limit in enumerate(limits):
        name, gpus = f"{limit}-worker", gpu_names()[n::gpu_workers]
        own = {"DIALOGSUM_GPU_LIMIT": limit} | ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})
        if _process(name) is None:
            _start_worker(name, "gpu-pool", "1", own)
    _start_serving(host, serve_port, recipe)
    _report()
    ui = url.removesuffix("/api")
    print(
        f"next: {ui}/deployments?deployments.tags.name=dialogsum has the forms of retrain, evaluate, promote "
        "and summarize"
    )
    print("`dialogsum station down` or `make down` stops the station")


def down() -> None:
    """Stop runs, workers and server. Finished stages are kept; an interrupted run resumes when it is started again."""
    names = _names()
    if not names:
        print(f"the station is down already ({_folder()})")
        return
    _announce("ending runs, workers and the server, which takes 10 to 40 s")
    processes = {name: process for name in names if (process := _process(name))}
    workers = [process for name, process in processes.items() if name not in SERVERS]
    answers = bool(workers) and _answers(_read_process_file("server").get("url", ""))
    if answers:
        os.environ.update(_environment(_read_process_file("server")["url"]))
        check_credential(_read_process_file("server")["url"])
        from flows.station.provisioning import (  # takes seconds, which a station that is down needs not
            finalize_orphaned_runs,
            paused,
        )
    # or a worker would start the next run in the place of each that is ended
    with paused() if answers else nullcontext():
        ended = set[str]()
        while runs := [run for worker in workers for run in worker.children(recursive=True)]:
            ended |= {name for run in runs if (name := _flow_run(run))}
            _end(runs)
        _end(workers)
        if answers:
            finalize_orphaned_runs(ended)
    _end([process for name, process in processes.items() if name in SERVERS])
    for name in names:
        _process_file(name).unlink(missing_ok=True)
        print(f"{name}: {'stopped' if name in processes else 'was not running'}")


def status() -> None:
    """Print what runs, where, and the next scheduled run. StageError if something is wrong with the station."""
    if not _names():
        print(f"the station is down ({_folder()}); `dialogsum station up` starts it")
        return
    raise_problems(_report())


def raise_problems(problems: Sequence[str]) -> None:
    """StageError with the first of these problems, if there is one."""
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise StageError(f"attention is needed: {problems[0]}{more}")


def _report() -> Sequence[str]:
    from flows.station.station_report import station_lines

    url = _read_process_file("server").get("url", "")
    os.environ.update(_environment(url))
    if _answers(url):
        check_credential(url)
    status = current_status()
    print("\n".join([*station_lines(status), *(f"PROBLEM: {problem}" for problem in status.problems)]))
    return status.problems


def current_status() -> Status:
    """The status of the store and of the station on this machine, or else of the server that PREFECT_API_URL names."""
    names, noted = _names(), _read_process_file("server")
    own = noted.get("url", "") if names else ""
    if own:
        os.environ.update(_environment(own))
    from flows.station.station_status import collect  # Prefect reads its settings when it is imported

    server = _process("server")
    return collect(
        folder=_folder(),
        processes=[_describe(name) for name in names],
        server=own or os.environ.get("PREFECT_API_URL") or None,
        began=datetime.fromtimestamp(server.create_time(), UTC) if server else None,
        log_start=noted.get("log_start", 0),
        store_of=_read_process_file("reports").get("store") if names else None,
    )


def _describe(name: str) -> Process:
    process, url = _process(name), _read_process_file(name).get("url")
    return Process(
        name=name,
        pid=process.pid if process else None,
        log=str(_folder() / f"{name}.log"),
        version=_read_process_file(name).get("version"),
        url=url,
        answers=_answers(url, HEALTH.get(name, "/health")) if url else None,
    )


def station_server() -> tuple[str | None, Path]:
    """Address of the station's Prefect server, None unless it answers, and the station's files."""
    url = _read_process_file("server").get("url", "")
    return url if _process("server") and _answers(url) else None, _folder()


def _announce(line: str) -> None:
    """Progress, on standard error: what comes next takes long."""
    print(f"{line} …", file=sys.stderr, flush=True)


def _folder() -> Path:
    return user_path(
        os.environ.get("DIALOGSUM_STATION") or str(project_folder() / ".station"), "DIALOGSUM_STATION"
    ).resolve()


def _environment(url: str) -> dict[str, str]:
    mine = {"PREFECT_HOME": str(_folder()), "PREFECT_API_URL": url, "DO_NOT_TRACK": "1"}
    mine |= {"PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    return mine | client_settings() | {name: os.environ.get(name, value) for name, value in DEFAULTS.items()}


def _our_code() -> dict[str, str]:
    """Environment of a process that runs a module of this project, but in another folder."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}


def _deploy(limits: list[str], notify: list[str] | None, recipe: str | None) -> None:
    from prefect.client.orchestration import get_client

    from flows.champion_settings import missing_overrides_note
    from flows.station.provisioning import provision, station_overrides

    with get_client(sync_client=True) as client:
        announced = provision(client, limits, notify)
        overrides = station_overrides(client)
    default, line = choose(recipe, _folder() / "recipe.json", overrides)
    print(line)
    print(f"announcements go to: {', '.join(announced) or 'nobody; --notify URL names a service'}")
    champion = newest_champion()
    if champion is not None and (note := missing_overrides_note(champion, default.recipe, overrides)):
        print(note)
    deployments = _folder() / "prefect.yaml"
    deployments.write_text(deployments_with(default.recipe), encoding="utf-8")
    deployed = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(deployments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NO_COLOR": "1"},
    )
    if deployed.returncode:
        raise StageError(f"`prefect deploy --all` failed: {one_line((deployed.stdout + deployed.stderr)[-400:])}")


def _start_serving(host: str, port: int | None, recipe: str | None) -> None:
    """Start `dialogsum serve` at `port`, or again where it was. It answers once the champion is loaded."""
    record = _read_process_file("serve")
    noted, recipe = record.get("url", ""), recipe or record.get("recipe")
    url = f"http://{in_url(host)}:{port}" if port else noted
    if _process("serve") is not None:
        if url != noted:
            raise RequestError(f"`dialogsum serve` already runs at {noted}: run `dialogsum station down` first")
    elif url:
        command = ["serve", "--host", host, "--port", url.rsplit(":", 1)[1], *(["--recipe", recipe] if recipe else [])]
        _announce(f"starting `dialogsum serve` at {url}")
        _start("serve", command, _our_code(), module="flows.cli", url=url, recipe=recipe or "")
        until = time.monotonic() + SERVE_PATIENCE
        while not _answers(url) and time.monotonic() < until:
            if _process("serve") is None:
                log = _folder() / "serve.log"
                raise StageError(f"`dialogsum serve` ended: {one_line(log.read_text()[-300:])} ({log})")
            time.sleep(0.5)


def _free_slots() -> None:
    from prefect.client.orchestration import get_client

    from flows.station.slot_recovery import free_unheld

    with get_client(sync_client=True) as client:
        for limit in free_unheld(client, _folder()):
            print(f"freed the slot of {limit!r}, which no run held")


def reports_url(api: str | None) -> str | None:
    """Address of the station's report server, if the station runs the server at `api` and uses this process's store."""
    noted = _read_process_file("reports")
    ours = _read_process_file("server").get("url") == api and noted.get("store") == str(Store.current().root)
    return noted["url"] if ours and _process("reports") else None


def _reports_url(api: str, port: int | None) -> str:
    """Address of the report server, beside the Prefect server. RequestError if another process uses the port."""
    noted = _read_process_file("reports").get("url")
    host, server_port = api.removesuffix("/api").rsplit(":", 1)
    url = str(noted) if noted and port is None else f"{host}:{port or int(server_port) + 1}"
    if _process("reports") is not None:
        if url != noted:
            raise RequestError(
                f"the report server already runs at {noted}: run `dialogsum station down` first, or use the same port"
            )
        return url
    with suppress(OSError), socket.create_connection((host.removeprefix("http://"), int(url.rsplit(":", 1)[1])), 5):
        raise RequestError(
            f"another process listens at {url}, the address of the report server: choose a port with --reports-port"
        )
    return url


def _wait_for(name: str, url: str) -> None:
    until = time.monotonic() + PATIENCE
    while not _answers(url, HEALTH.get(name, "/health")):
        if _process(name) is None or time.monotonic() > until:
            log = _folder() / f"{name}.log"
            raise StageError(f"{name} does not answer at {url}: {one_line(log.read_text()[-300:])} ({log})")
        time.sleep(0.5)


def _answers(url: str, path: str = "/health") -> bool:
    try:
        with urllib.request.urlopen(f"{url}{path}", timeout=5) as answer:  # noqa: S310  # our own URL
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:  # a report server of an earlier version, still running, has no /live
        return path == HEALTH["reports"] and error.code == HTTPStatus.NOT_FOUND
    except (OSError, ValueError):
        return False


# -- processes: each has a note with its id and the time it began, since ids are given out again


def _process_file(name: str) -> Path:
    return _folder() / f"{name}.process.json"


def _names() -> list[str]:
    return sorted((file.name.removesuffix(".process.json") for file in _folder().glob("*.process.json")), reverse=True)


def _read_process_file(name: str) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(_process_file(name).read_text())
    except (OSError, ValueError):
        return {}
    return record


def _process(name: str) -> psutil.Process | None:
    """The process of that name, if it is still the one that was started here."""
    noted = _read_process_file(name)
    try:
        process = psutil.Process(noted["pid"])
        same = process.create_time() == noted["created"] and process.status() != psutil.STATUS_ZOMBIE
    except (KeyError, psutil.Error):
        return None
    return process if same else None


def _flow_run(process: psutil.Process) -> str | None:
    """Id of the flow run that a worker started this process for."""
    try:
        return process.environ().get("PREFECT__FLOW_RUN_ID")
    except psutil.Error:
        return None


def _start(
    name: str, command: list[str], more: dict[str, str] | None = None, module: str = "prefect", **noted: str
) -> None:
    """Start `prefect COMMAND…`, or another module, which goes on when this process and its terminal end."""
    rotate(_folder() / f"{name}.log")
    with (_folder() / f"{name}.log").open("a") as log:
        start = log.tell()
        started = subprocess.Popen(
            [sys.executable, "-m", module, *command],
            cwd=_folder(),
            env=os.environ | (more or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    created = psutil.Process(started.pid).create_time()
    record = {"pid": started.pid, "created": created, "log_start": start, "version": version(PACKAGE)}
    _process_file(name).write_text(json.dumps(record | noted))


def _start_worker(name: str, pool: str, limit: str, environment: dict[str, str] | None = None) -> None:
    command = ["worker", "start", "--pool", pool, "--name", name, "--limit", limit]
    _start(name, command, _our_code() | (environment or {}), module="flows.station.worker")


def _end(processes: list[psutil.Process]) -> None:
    """Ask them to end, wait, then kill those that are left."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(processes, timeout=GRACE)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()

"""The processes of a station: each has a file with its id and the time it began, since ids are given out again."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from artifacts.code_fingerprint import ROOT
from artifacts.errors import StageError
from artifacts.text import one_line
from artifacts.user_paths import project_folder, user_path
from flows.station.log_rotation import rotate
from flows.station.status_records import PACKAGE

START_TIMEOUT = 180.0
"""Seconds that a server may take to answer: the first start makes its database."""
GRACE = 30.0
"""Seconds between asking a process to stop and killing it."""
HEALTH = {"reports": "/live"}
"""Name of a server -> path at which it answers 200 as long as it works, where that is not /health."""


def station_folder() -> Path:
    """The folder of the station's files."""
    return user_path(
        os.environ.get("DIALOGSUM_STATION") or str(project_folder() / ".station"), "DIALOGSUM_STATION"
    ).resolve()


def process_file(name: str) -> Path:
    """The file about the process of that name, which may not exist."""
    return station_folder() / f"{name}.process.json"


def process_names() -> list[str]:
    """Names of the processes that were started and not yet stopped; some may have died since."""
    files = station_folder().glob("*.process.json")
    return sorted((file.name.removesuffix(".process.json") for file in files), reverse=True)


def read_process_file(name: str) -> dict[str, Any]:
    """pid, created, log_start, version and what was noted at the start; empty if there is none."""
    try:
        record: dict[str, Any] = json.loads(process_file(name).read_text())
    except (OSError, ValueError):
        return {}
    return record


def running_process(name: str) -> psutil.Process | None:
    """The process of that name, if it is still the one that was started here."""
    noted = read_process_file(name)
    try:
        process = psutil.Process(noted["pid"])
        same = process.create_time() == noted["created"] and process.status() != psutil.STATUS_ZOMBIE
    except (KeyError, psutil.Error):
        return None
    return process if same else None


def flow_run_of(process: psutil.Process) -> str | None:
    """Id of the flow run that a worker started this process for."""
    try:
        return process.environ().get("PREFECT__FLOW_RUN_ID")
    except psutil.Error:
        return None


def start_process(
    name: str, command: list[str], more: dict[str, str] | None = None, module: str = "prefect", **noted: str
) -> None:
    """Start `prefect COMMAND…`, or another module, which goes on when this process and its terminal end."""
    rotate(station_folder() / f"{name}.log")
    with (station_folder() / f"{name}.log").open("a") as log:
        start = log.tell()
        started = subprocess.Popen(
            [sys.executable, "-m", module, *command],
            cwd=station_folder(),
            env=os.environ | (more or {}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    created = psutil.Process(started.pid).create_time()
    record = {"pid": started.pid, "created": created, "log_start": start, "version": version(PACKAGE)}
    process_file(name).write_text(json.dumps(record | noted))


def end_processes(processes: list[psutil.Process]) -> None:
    """Ask them to end, wait, then kill those that are left."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, left = psutil.wait_procs(processes, timeout=GRACE)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def answers(url: str, path: str = "/health") -> bool:
    """Whether a server responds at `url` within 5 s."""
    try:
        with urllib.request.urlopen(f"{url}{path}", timeout=5) as answer:  # noqa: S310  # our own URL
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:  # a report server of an earlier version, still running, has no /live
        return path == HEALTH["reports"] and error.code == HTTPStatus.NOT_FOUND
    except (OSError, ValueError):
        return False


def wait_for(name: str, url: str) -> None:
    """Wait until the server `name` responds. StageError with the end of its log if it ends or takes too long."""
    until = time.monotonic() + START_TIMEOUT
    while not answers(url, HEALTH.get(name, "/health")):
        if running_process(name) is None or time.monotonic() > until:
            log = station_folder() / f"{name}.log"
            raise StageError(f"{name} does not answer at {url}: {one_line(log.read_text()[-300:])} ({log})")
        time.sleep(0.5)


def announce_step(line: str) -> None:
    """Progress, on standard error: what comes next takes long."""
    print(f"{line} …", file=sys.stderr, flush=True)


def our_code() -> dict[str, str]:
    """Environment of a process that runs a module of this project, but in another folder."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}

"""Row 11: the Prefect server is stopped or restarted during a run, or its database is locked.

tests/system/test_shared_store.py stops the store's server during a run; tests/system/test_postgresql.py names a server
that does not exist.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from tests.faults.fault_table import Tally
from tests.support.paths import ROOT
from tests.support.pipelines import set_options, small_overrides
from tests.support.servers import PrefectServer

pytestmark = pytest.mark.faults


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PrefectServer]:
    started = PrefectServer(tmp_path / "server")
    yield started
    started.stop()


@pytest.fixture
def wanted_new(models: dict[str, Path], data: Path) -> list[str]:
    return set_options([*small_overrides("smollm2-135m", models["llama"], data), "train.max_steps=60"])


def start(server: PrefectServer, home: Path, overrides: list[str], **more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", *overrides, "--json"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(home), "PREFECT_API_URL": server.url} | more,
    )


def when_training(process: subprocess.Popen[str]) -> None:
    scratch, end = Path(Store.current().root.path, ".scratch"), time.monotonic() + 120
    while not list(scratch.glob("train-*/work")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def reused(process: subprocess.Popen[str], finished: set[str], lost: list[Any]) -> None:
    """The run ends well, and what was there before it is not made again."""
    out, stderr = process.communicate(timeout=300)
    if process.returncode:
        lost.append((process.returncode, stderr[-600:]))
        return
    lost += [e["artifact"] for e in json.loads(out)["stages"] if e["artifact"] in finished and e["status"] != "reused"]


def stored_artifacts() -> set[str]:
    return {manifest.id for manifest in Store.current().manifests() if Store.current().verified(manifest.path)}


def test_a_server_that_stays_away_ends_the_run_in_one_line(
    server: PrefectServer, wanted_new: list[str], tmp_path: Path, tally: Tally
) -> None:
    """Exit 1, the server's address; with the server back, the same command repeats no finished stage.

    The hour that a run waits is a minute here.
    """
    lost: list[Any] = []
    process = start(server, tmp_path / "home", wanted_new, DIALOGSUM_MAX_SERVER_OUTAGE="60")
    when_training(process)
    server.server.stop(signal.SIGKILL)
    out, stderr = process.communicate(timeout=400)
    last = stderr.strip().splitlines()[-1]
    if (
        process.returncode != 1
        or out
        or not last.startswith(f"dialogsum: the Prefect server {server.url} does not answer")
    ):
        lost.append((process.returncode, out[:300], stderr[-800:]))
    finished = stored_artifacts()
    server.start()
    reused(start(server, tmp_path / "home", wanted_new), finished, lost)
    tally("11 Prefect server stopped for good during a run", 1, lost)


def test_a_server_that_is_restarted_is_waited_for(
    server: PrefectServer, wanted_new: list[str], tmp_path: Path, tally: Tally
) -> None:
    """The server restarts with its database: the run continues and completes."""
    lost: list[Any] = []
    process = start(server, tmp_path / "home", wanted_new)
    when_training(process)
    server.server.stop(signal.SIGTERM)
    time.sleep(2)
    server.start()
    reused(process, set(), lost)
    tally("11 Prefect server restarted during a run", 1, lost)


def test_a_locked_database_is_waited_for(
    server: PrefectServer, wanted_new: list[str], tmp_path: Path, tally: Tally
) -> None:
    """Another process locks Prefect's SQLite file for 20 s: the run waits or fails in one line; no stage runs twice."""
    lost: list[Any] = []
    process = start(server, tmp_path / "home", wanted_new)
    when_training(process)
    (file,) = (tmp_path / "server").rglob("prefect.db")
    with sqlite3.connect(file, timeout=30) as database:
        database.execute("BEGIN EXCLUSIVE")
        time.sleep(20)
        database.rollback()
    stderr = process.communicate(timeout=300)[1]
    if process.returncode and "Traceback" in stderr.strip().splitlines()[-1]:
        lost.append((process.returncode, stderr[-800:]))
    finished = stored_artifacts()
    if process.returncode:
        reused(start(server, tmp_path / "home", wanted_new), finished, lost)
    tally("11 Prefect's database locked for 20 s", 1, lost)

"""A server that is not ours goes away during a run, for longer than Prefect's client waits; both are made short.

tests/faults/test_long_outage.py has ten minutes, on a station.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Crashed

from artifacts.artifact_store import Store
from flows.station.server_settings import check_settings
from tests.support.paths import ROOT
from tests.support.pipelines import set_options, small_overrides
from tests.support.servers import PrefectServer, until

pytestmark = pytest.mark.slow

OUTAGE = 20.0
"""Seconds; Prefect's client gives up after two."""
SHORT = {"PREFECT_CLIENT_MAX_RETRIES": "1", "PREFECT_LOGGING_LEVEL": "INFO"}
PATIENCE = 600.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PrefectServer]:
    """As `prefect server start` makes it: it keeps leases in its memory."""
    started = PrefectServer(tmp_path / "server")
    yield started
    started.stop()


def test_an_outage_costs_no_run_on_a_server_of_others(
    server: PrefectServer, models: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    """The run waits, also where the server marks it as Crashed, and completes; the GPU's slot is free afterwards."""
    overrides = set_options([*small_overrides("smollm2-135m", models["llama"], data), "train.max_steps=60"])
    environment = {"PREFECT_HOME": str(tmp_path / "home"), "PREFECT_API_URL": server.url, "DIALOGSUM_GPU_LIMIT": "gpu"}
    with temporary_settings({PREFECT_API_URL: server.url}), get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name("gpu", 1)
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "run", *overrides],
            cwd=ROOT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | environment | {"PYTHONPATH": str(ROOT), **SHORT},
        )
        try:
            scratch = Path(Store.current().root.path, ".scratch")
            until(lambda: [*scratch.glob("train-*/work")] or process.poll() is not None, "the training", PATIENCE)
            server.server.stop(signal.SIGKILL)
            down = time.monotonic()
            until(lambda: process.poll() is not None or time.monotonic() - down > OUTAGE, "the outage", PATIENCE)
            assert process.returncode is None, process.communicate()
            server.start()
            (run,) = client.read_flow_runs()
            client.set_flow_run_state(run.id, Crashed(message="no heartbeat for 300 s: its worker or process died"))
            _, stderr = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
        assert process.returncode == 0, stderr
        assert client.read_flow_run(run.id).state_type == StateType.COMPLETED
        assert client.read_global_concurrency_limit_by_name("gpu").active_slots == 0
        logged: Any = client.request("POST", "/logs/filter", json={"limit": 200}).json()
        assert any("answers again after" in entry["message"] for entry in logged)
        assert any("had marked this run as Crashed" in entry["message"] for entry in logged)
        assert "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE" in str(check_settings(server.url)[0])

"""A team: Prefect on PostgreSQL with a credential, the store on S3, and two machines that are want the same work."""

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.base import PrefectHttpxSyncClient

from artifacts.artifact_store import Store
from tests.support.artifacts import publish_small_artifact
from tests.support.data import tiny_data
from tests.support.machines import IsolatedMachine
from tests.support.paths import ROOT
from tests.support.pipelines import small_overrides
from tests.support.servers import S3, PostgreSQL, PrefectServer, Process, until
from tests.support.stations import ENDED

CREDENTIAL = "team:pw-of-the-api"
PATIENCE = 900.0
"""Seconds that the test waits at most for a run."""
SETUP = """
from prefect.client.orchestration import get_client
from flows.station.provisioning import provision
with get_client(sync_client=True) as client:
    provision(client, ["gpu-a", "gpu-b"], [])
    queue = client.read_work_queue_by_name("retrain", "cpu-pool")
    client.update_work_queue(queue.id, concurrency_limit=2)
"""
"""Without the queue's limit of one retraining at a time, which a team of several servers would not have."""


class Machine(IsolatedMachine):
    """A machine with a worker of each pool."""

    def __init__(self, folder: Path, store: str, server: S3, **environment: str) -> None:
        super().__init__(folder, store, server, **environment)
        self.workers: dict[str, Process] = {}

    def work(self, name: str) -> None:
        for pool, limit in (("cpu-pool", "1"), ("gpu-pool", "1")):
            command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--name", f"{name}-{pool}"]
            own = self.environment | {"DIALOGSUM_GPU_LIMIT": f"gpu-{name}"}
            self.workers[pool] = Process([*command, "--limit", limit], self.folder / f"{pool}.log", **own)

    def kill(self, pool: str) -> None:
        """SIGKILL to a worker and all its runs at once."""
        worker = psutil.Process(self.workers[pool].process.pid)
        for process in [worker, *worker.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.workers[pool].process.wait()

    def has(self, pool: str, process: int) -> bool:
        """Whether a process belongs to the worker."""
        return any(child.pid == process for child in self.processes(pool))

    def processes(self, pool: str) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.workers[pool].process.pid).children(recursive=True)
        return []

    def stop(self) -> None:
        for pool in self.workers:
            with suppress(psutil.NoSuchProcess):
                self.kill(pool)


class Team:
    """The servers, the two machines, and Prefect's API."""

    def __init__(self, stack: ExitStack, folder: Path, s3: S3) -> None:
        self.database = PostgreSQL()
        stack.callback(self.database.stop)
        self.server = PrefectServer(
            folder / "server",
            PREFECT_SERVER_DATABASE_CONNECTION_URL=self.database.url,
            PREFECT_SERVER_API_AUTH_STRING=CREDENTIAL,
        )
        stack.callback(self.server.stop)
        self.store = "s3://bucket/two-machines"
        client = {
            "PREFECT_API_URL": self.server.url,
            "PREFECT_API_AUTH_STRING": CREDENTIAL,
            "PREFECT_LOGGING_LEVEL": "INFO",
        }
        self.a, self.b, self.third = (Machine(folder / name, self.store, s3, **client) for name in ("a", "b", "c"))
        for machine in (self.a, self.b):
            stack.callback(machine.stop)
        for command in (["-c", SETUP], ["-m", "prefect", "--no-prompt", "deploy", "--all"]):
            done = subprocess.run(
                [sys.executable, *command], cwd=ROOT, env=self.third.environment, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stdout + done.stderr
        self.http = PrefectHttpxSyncClient(base_url=self.server.url, timeout=60, auth=tuple(CREDENTIAL.split(":")))

    def post(self, path: str, **content: Any) -> Any:
        return self.http.post(path, json=content).raise_for_status().json()

    def get(self, path: str) -> Any:
        return self.http.get(path).raise_for_status().json()

    def state(self, run: str) -> str:
        return str(self.get(f"/flow_runs/{run}")["state_type"])

    def children(self, parent: str, name: str) -> list[dict[str, Any]]:
        content = {"flow_runs": {"parent_flow_run_id": {"any_": [parent]}}, "sort": "START_TIME_ASC"}
        return [run for run in self.post("/flow_runs/filter", **content) if run["name"].startswith(name)]

    def logged(self, pattern: str) -> list[str]:
        """Messages of all runs, as PostgreSQL has them."""
        return self.database.value(f"SELECT message FROM log WHERE message LIKE '{pattern}'").splitlines()


@pytest.fixture
def team(tmp_path: Path, s3: str, s3_server: S3) -> Iterator[Team]:
    with ExitStack() as stack:
        yield Team(stack, tmp_path, s3_server)


@pytest.mark.slow
def test_two_machines_make_each_stage_once_although_one_is_killed_and_garbage_is_collected(
    team: Team, models: dict[str, Path], tmp_path: Path
) -> None:
    """Two retrainings with the same settings: one machine trains and is killed, and the other takes over its work.

    Both retrainings complete, every artifact was made by one run, garbage collection removed only what nobody uses.
    """
    store = Store(team.store)
    unused = publish_small_artifact(store, key="0badcafe" * 8)
    data, more = tiny_data(tmp_path / "data"), ("train.max_steps=40", "gate.least_rows=1")
    settings = small_overrides("smollm2-135m", models["llama"], data, *more)
    deployment = team.get("/deployments/name/retrain/retrain")["id"]
    for name, machine in (("a", team.a), ("b", team.b)):
        machine.work(name)
    parameters = {"recipe": "smollm2-135m", "overrides": settings}
    runs = [
        team.post(f"/deployments/{deployment}/create_flow_run", parameters=parameters, idempotency_key=name)["id"]
        for name in "ab"
    ]

    def training() -> Any:
        """The machine that trains and its run, once both retrainings have sent the training to the GPU pool."""
        leases = [json.loads(text) for name, text in store.side_files.read_all("leases").items() if "train-" in name]
        if not leases or not all(team.children(run, "train") for run in runs):
            return None
        process, child = re.findall(r"process (\d+), run (\S+)\)", leases[0]["holder"])[0]
        return next(((machine, child) for machine in (team.a, team.b) if machine.has("gpu-pool", int(process))), None)

    killed, dead = until(training, "the training", PATIENCE)
    killed.kill("gpu-pool")
    when = time.monotonic()
    collected = team.third.call("gc", "--days", "0", "--delete")
    assert unused.id in {item["what"] for item in collected["items"]}
    # as the automation of the station does after five minutes without a heartbeat
    team.post(f"/flow_runs/{dead}/set_state", state={"type": "CRASHED", "message": "no heartbeat"}, force=True)
    until(lambda: {team.state(run) for run in runs} <= {*ENDED}, "the end of the retrainings", PATIENCE)
    assert {team.state(run) for run in runs} == {"COMPLETED"}
    assert time.monotonic() - when > 60  # the lease had to expire

    assert team.logged(f"train-% is being made by % run {dead}) since % UTC: waiting for it")
    assert team.logged("train-% has not renewed its lease for %")
    made = Counter(line.split(" ")[0] for line in team.logged("% made: % rows"))
    artifacts = store.manifests()
    assert made == {manifest.id: 1 for manifest in artifacts}
    assert len(artifacts) == 9
    assert [store.verified(manifest.path) for manifest in artifacts] == artifacts
    assert store.side_files.names("leases") == []

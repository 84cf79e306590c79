"""A local Prefect station under a folder of its own, used through its server's API."""

import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from prefect.client.base import PrefectHttpxSyncClient

from tests.support.data import tiny_data
from tests.support.paths import ROOT
from tests.support.pipelines import small_overrides
from tests.support.processes import run_cli
from tests.support.servers import free_ports

NOT_CODE = shutil.ignore_patterns(".git", ".venv", ".station", "store", "__pycache__", ".*_cache", "*.egg-info")


ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


PATIENCE = 240.0
"""Seconds that a test waits at most."""


HOLDER = """
import sys
from prefect import flow
from tasks.gpu_lease import hold_gpu

@flow
def hold():
    with hold_gpu("gpu"):
        print("held", flush=True)
        sys.stdin.read()

hold()
"""


class LocalStation:
    """A station under a folder of its own."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.code = folder, folder / "clone"
        shutil.copytree(ROOT, self.code, ignore=NOT_CODE)
        self.port, self.reports_port = free_ports(2)
        self.url, self.reports = (f"http://127.0.0.1:{self.port}/api", f"http://127.0.0.1:{self.reports_port}")
        self.environment = {
            "DIALOGSUM_STATION": str(folder / "station"),
            "DIALOGSUM_STORE": str(folder / "store"),
            "PREFECT_LOGGING_LEVEL": "INFO",
            "PREFECT_API_URL": self.url,
            "PREFECT_HOME": str(folder / "station"),
        }
        self.settings = small_overrides("smollm2-135m", model, tiny_data(folder / "data"), "gate.least_rows=1")
        self.first = self.progress = ""
        # asks again where the server says 503, which it does while SQLite is busy writing
        self.http = PrefectHttpxSyncClient(base_url=self.url, timeout=60, raise_on_all_errors=False)

    def command(self, *words: str) -> str:
        process = self.try_command(*words)
        assert process.returncode == 0, process.stderr
        self.progress = str(process.stderr)
        return str(process.stdout)

    def try_command(self, *words: str) -> Any:
        return run_cli("station", *words, root=self.code, **self.environment)

    def up(self, *more: str) -> str:
        return self.command("up", "--port", str(self.port), "--reports-port", str(self.reports_port), *more)

    def post(self, path: str, **content: Any) -> Any:
        answer = self.http.post(path, json=content)
        assert answer.is_success, answer.text
        return answer.json()

    def get(self, path: str) -> Any:
        return self.http.get(path).raise_for_status().json()

    def start(self, name: str, run_name: str | None = None, **parameters: Any) -> str:
        """Start a run of a deployment as the UI's form does; returns its id."""
        deployment = self.get(f"/deployments/name/{name}")["id"]
        content = {"parameters": parameters} | ({"name": run_name} if run_name else {})
        return str(self.post(f"/deployments/{deployment}/create_flow_run", **content)["id"])

    def run(self, identifier: str) -> dict[str, Any]:
        run: dict[str, Any] = self.get(f"/flow_runs/{identifier}")
        return run

    def ended(self, identifier: str, patience: float = PATIENCE) -> dict[str, Any]:
        """Wait for the end of a run, and return it."""
        wait_until(lambda: self.run(identifier)["state_type"] in ENDED, patience)
        return self.run(identifier)

    def children(self, parent: str) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = self.post(
            "/flow_runs/filter", flow_runs={"parent_flow_run_id": {"any_": [parent]}}, sort="START_TIME_ASC"
        )
        return runs

    def retrain(self, *more: str) -> str:
        return self.start("retrain/retrain", recipe="smollm2-135m", overrides=[*self.settings, *more])

    def training(self, seed: int) -> tuple[str, list[dict[str, Any]]]:
        """Start a retraining whose child on the GPU pool keeps training: its id, and its children."""
        parent = self.retrain("train.max_steps=100000", "train.learning_rate=1e-9", f"train.seed={seed}")
        wait_until(lambda: [run for run in self.children(parent) if run["state_type"] == "RUNNING"])
        return parent, self.children(parent)

    def processes(self) -> list[psutil.Process]:
        """Every process that has this station's environment."""
        processes = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("DIALOGSUM_STATION") == self.environment["DIALOGSUM_STATION"]:
                    processes.append(process)
        return processes

    def kill(self, name: str) -> None:
        """SIGKILL to a worker and all its runs at once."""
        worker = self.process(name)
        for process in [worker, *worker.children(recursive=True)]:
            process.kill()

    def rename(self, name: str, former: str, copy: bool = False) -> None:
        """Give an automation, or a copy of it, the name that an earlier version gave it."""
        (automation,) = [a for a in self.post("/automations/filter") if a["name"] == f"dialogsum: {name}"]
        content = {key: automation[key] for key in ("description", "enabled", "actions", "trigger")}
        content["name"] = f"dialogsum: {former}"
        if copy:
            self.post("/automations/", **content)
        else:
            self.http.put(f"/automations/{automation['id']}", json=content).raise_for_status()

    def hasten(self, name: str, seconds: float) -> float:
        """Shorten the wait of an automation until the next `up`; returns the former number of seconds."""
        (automation,) = [a for a in self.post("/automations/filter") if a["name"] == f"dialogsum: {name}"]
        content = {key: automation[key] for key in ("name", "description", "enabled", "actions")}
        content["trigger"] = automation["trigger"] | {"within": seconds}
        self.http.put(f"/automations/{automation['id']}", json=content).raise_for_status()
        return float(automation["trigger"]["within"])

    def errors(self, run: str) -> list[str]:
        """Messages at level ERROR or above in the log of a run and of its tasks."""
        entries = self.post("/logs/filter", logs={"flow_run_id": {"any_": [run]}, "level": {"ge_": 40}}, limit=200)
        return [entry["message"] for entry in entries]

    def triggered_by(self, run: str) -> list[str]:
        """Names of the automations that an event of a run has triggered."""
        events = self.post("/events/filter", filter={"event": {"name": ["prefect.automation.triggered"]}})["events"]
        return [e["resource"]["prefect.resource.name"] for e in events if run in json.dumps(e["payload"])]

    def process(self, name: str) -> psutil.Process:
        note = json.loads((self.folder / "station" / f"{name}.process.json").read_text())
        return psutil.Process(note["pid"])


def wait_until(holds: Callable[[], Any], patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.3)

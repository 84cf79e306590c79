"""The API of the station's Prefect server, as `bench soak` uses it: schedules, runs, the automation of heartbeats."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from httpx import HTTPError
from prefect.client.base import PrefectHttpxSyncClient

from artifacts.errors import StageError
from flows.recipe import OVERRIDES
from flows.station.provisioning import automations

ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
ACTIVE = ("RUNNING", "PENDING", "CANCELLING")
PATIENCE = 7200.0
"""Seconds for a run to end, on a machine that does other work."""
(HEARTBEAT_AUTOMATION,) = (each.name for each in automations() if "heartbeat" in each.name)
HASTE = 90.0
"""Seconds without heartbeat after which a run counts as dead here, instead of those of a station."""


class SoakServer:
    """A Prefect server that may be restarted at any time."""

    def __init__(self, url: str) -> None:
        # repeats what the server refuses with 503, as it does while SQLite is busy
        self.http = PrefectHttpxSyncClient(base_url=url, timeout=60, raise_on_all_errors=False)

    def override(self, overrides: tuple[str, ...]) -> None:
        """Set the overrides of all deployed runs."""
        self._send("PATCH", f"/variables/name/{OVERRIDES}", value=list(overrides))

    def scheduled(self, flow: str) -> str:
        """Move the schedule of a deployment so that its next run is due now; returns the id of that run."""
        deployment = self._get(f"/deployments/name/{flow}/{flow}")
        due = _now().replace(microsecond=0) + timedelta(seconds=1)
        schedule = {"interval": timedelta(days=7).total_seconds(), "anchor_date": due.isoformat(), "timezone": "UTC"}
        path = f"/deployments/{deployment['id']}"
        self._send("PATCH", f"{path}/schedules/{deployment['schedules'][0]['id']}", schedule=schedule)
        self._send("POST", f"{path}/schedule", start_time=due.isoformat(), min_runs=1, max_runs=1)
        window = {
            "after_": (due - timedelta(seconds=1)).isoformat(),
            "before_": (due + timedelta(seconds=1)).isoformat(),
        }
        this = {"deployments": {"id": {"any_": [deployment["id"]]}}, "flow_runs": {"expected_start_time": window}}
        wait_until(lambda: self.runs(**this), f"a scheduled run of {flow}")
        return str(self.runs(**this)[0]["id"])

    def runs(self, **filters: Any) -> list[dict[str, Any]]:
        """Flow runs, 200 at most."""
        found: list[dict[str, Any]] = self._send("POST", "/flow_runs/filter", **filters).json()
        return found

    def count_runs(self) -> int:
        """Flow runs in the database."""
        return int(self._send("POST", "/flow_runs/count").text)

    def unfinished(self) -> list[dict[str, Any]]:
        """Flow runs that are at work, that the server takes for that, or that are due."""
        due = {"state": {"type": {"any_": ["SCHEDULED"]}}, "expected_start_time": {"before_": _now().isoformat()}}
        return [*self.runs(flow_runs={"state": {"type": {"any_": ACTIVE}}}), *self.runs(flow_runs=due)]

    def run(self, identifier: str) -> dict[str, Any]:
        """A flow run."""
        found: dict[str, Any] = self._get(f"/flow_runs/{identifier}")
        return found

    def children(self, identifier: str) -> list[dict[str, Any]]:
        """Runs on the GPU pool that a run has started and that are at work."""
        state = {"type": {"any_": ["RUNNING"]}}
        return self.runs(flow_runs={"parent_flow_run_id": {"any_": [identifier]}, "state": state})

    def ended(self, identifier: str) -> dict[str, Any]:
        """Wait for the end of a run, and return it."""
        wait_until(lambda: self.run(identifier)["state_type"] in ENDED, f"the end of run {identifier}")
        return self.run(identifier)

    def hasten(self) -> None:
        """Until the next `up`, count a run without heartbeat as dead after HASTE."""
        existing = self._send("POST", "/automations/filter").json()
        (found,) = [each for each in existing if each["name"] == HEARTBEAT_AUTOMATION]
        content = {key: found[key] for key in ("name", "description", "enabled", "actions")}
        self._send("PUT", f"/automations/{found['id']}", **content, trigger=found["trigger"] | {"within": HASTE})

    def _get(self, path: str) -> Any:
        return self._send("GET", path).json()

    def _send(self, method: str, path: str, **content: Any) -> Any:
        """Send a request until the server answers it; all that are sent here can be repeated."""
        answers = list[Any]()

        def answered() -> bool:
            with suppress(HTTPError):  # no connection, or still busy after the client's own retries
                answers.append(self.http.request(method, path, json=None if method == "GET" else content))
            return bool(answers) and not answers[-1].is_server_error

        wait_until(answered, f"an answer to {method} {path}")
        return answers[-1].raise_for_status()


def wait_until(holds: Callable[[], Any], what: str) -> None:
    """StageError if a condition does not come to hold within PATIENCE."""
    until = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > until:
            raise StageError(f"waited {PATIENCE:g} s in vain for {what}")
        time.sleep(0.5)


def _now() -> datetime:
    return datetime.now(UTC)

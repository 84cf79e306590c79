"""Stages sent to the GPU pool: child runs of their own, one for each machine that shares the work.

A child that completes without its artifact in the store is an error.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from httpx import HTTPError
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, State
from prefect.deployments import run_deployment
from prefect.runtime import flow_run
from prefect.states import Cancelled, Cancelling
from prefect.types._datetime import now

from artifacts.artifact_store import Store
from artifacts.check import refuse_failed
from artifacts.errors import StageError
from artifacts.text import one_line
from tasks.execution import sharding
from tasks.execution.job import Job, intact_artifact
from tasks.execution.live_curve import LiveCurveReader
from tasks.execution.stage import Shard
from tasks.prefect_task import RunEvents, current_listener, log_how_to_resume, title
from tasks.registry import STAGES

TRIES = 2
"""How often a run is started whose process or machine dies under it: it goes on where the last one was, if it can."""
POLL = 2.0
"""Seconds between looks at the children."""
CURVE_POLL = 5.0
"""Seconds between looks at the learning curve of a child."""
REVIVAL = timedelta(seconds=60)
"""Time in which a child that was taken for dead says that it works."""


def send(job: Job, path: str) -> None:
    """Run a job on the GPU pool, as one run or as several shards. Returns when the results are in the store.

    `path`: where in the store it will be. StageError if its checks on the CPU or its runs fail.
    """
    store, stage = Store.current(), STAGES[job.stage]
    refuse_failed(sharding.check(store, stage, job, RunEvents(f"check {title(job)}")))
    machines = job.runtime.machines if stage.run_shard else 1
    shards = [Shard(0, 1)] if machines == 1 else sharding.missing_shards(store, job, machines)
    left = "its runs on the GPU pool are cancelled; their checkpoints and finished batches are kept"
    with log_how_to_resume(title(job), lambda: left), get_client(sync_client=True) as client, _cancelling(client):
        _wait_for_all(client, [_Child(job, shard) for shard in shards])
    manifest = store.manifest(path)
    complete = (
        manifest is not None and manifest.key == job.key
        if machines == 1
        else intact_artifact(store, stage, job) or not sharding.missing_shards(store, job, machines)
    )
    if not complete:
        raise StageError(
            f"{title(job)} ran on the GPU pool, but {job.artifact} is not in {store.root}: give its "
            "workers the same code and the same DIALOGSUM_STORE"
        )


class _Child:
    """A run on the GPU pool."""

    def __init__(self, job: Job, shard: Shard) -> None:
        self.job, self.shard, self.tries = job, shard, 0
        self.name = title(job) if shard.count == 1 else f"{title(job)}, {shard.index + 1} of {shard.count}"
        self.curve = LiveCurveReader(Store.current(), job) if job.stage == "train" else None
        self.next_look = 0.0
        self.start()

    def start(self) -> None:
        job, self.tries = self.job, self.tries + 1
        parameters: dict[str, Any] = {"artifact": job.artifact, "refresh": job.refresh}
        if self.shard.count > 1:
            parameters |= {"shard": self.shard.index, "shards": self.shard.count}
        run: Any = run_deployment(
            f"stage-{job.stage}/stage-{job.stage}",
            parameters=parameters,
            flow_run_name=self.name,
            timeout=0,
            tags=["gpu", job.recipe.split(" ")[0]],
            idempotency_key=str(uuid4()),  # a request that is repeated makes no second run
        )
        self.id = run.id
        get_run_logger().info("%s: sent to the GPU pool as run %s", self.name, run.id)

    def ended(self, client: SyncPrefectClient) -> bool:
        """Whether it is over; started again if its process died. StageError if it failed."""
        state = client.read_flow_run(self.id).state
        if state is None or not state.is_final():
            return False
        if state.is_completed():
            return True
        ending = one_line(f"{state.name}: {state.message or 'no message'}", 300)
        if _may_revive(state):
            return False
        if state.is_crashed() and self.tries < TRIES:
            get_run_logger().warning("%s died (%s): started again", self.name, ending)
            self.start()
            return False
        raise StageError(f"{self.name}: its run {self.id} on the GPU pool ended {ending}")

    def forward_metrics(self) -> None:
        """Pass what a training has measured since the last look to the listener of this run."""
        if self.curve is not None and time.monotonic() >= self.next_look:
            self.next_look = time.monotonic() + CURVE_POLL
            for step, values in self.curve.new_points().items():
                current_listener.get().metrics(step, values)


def _may_revive(state: State[Any]) -> bool:
    """Whether a run is marked as Crashed for want of heartbeats and may correct that (tasks/run_watch.py)."""
    missed = state.is_crashed() and "heartbeat" in (state.message or "")
    return missed and now("UTC") - state.timestamp < REVIVAL


def _wait_for_all(client: SyncPrefectClient, children: list[_Child]) -> None:
    """Wait for all children. If one fails, the others finish: their shards are kept."""
    failed, running = list[StageError](), list(children)
    while running:
        time.sleep(POLL)
        for child in list(running):
            child.forward_metrics()
            try:
                over = child.ended(client)
            except StageError as error:
                failed.append(error)
                over = True
            if over:
                running.remove(child)
    if failed:
        raise failed[0]


@contextmanager
def _cancelling(client: SyncPrefectClient) -> Iterator[None]:
    """If this run ends in the block, cancel its children, also one that the server was about to make."""
    try:
        yield
    except BaseException:
        try:
            for child in _unfinished_children(client):
                _cancel(client, child)
        except HTTPError as error:  # the error that ended this run is the one to raise
            get_run_logger().warning("its children could not be cancelled: %s", one_line(error, 120))
        raise


def _unfinished_children(client: SyncPrefectClient) -> list[FlowRun]:
    unfinished = FlowRunFilterState(type=FlowRunFilterStateType(not_any_=[*TERMINAL_STATES]))
    mine = FlowRunFilterParentFlowRunId(any_=[UUID(str(flow_run.id))])
    return client.read_flow_runs(flow_run_filter=FlowRunFilter(parent_flow_run_id=mine, state=unfinished))


def _cancel(client: SyncPrefectClient, child: FlowRun) -> None:
    why = "the run that started it no longer needs it"
    state: State[Any] | None = client.set_flow_run_state(child.id, Cancelling(message=why)).state
    if state is not None and state.is_cancelled():  # it had not begun, and the server has dropped the message
        client.set_flow_run_state(child.id, Cancelled(message=why))

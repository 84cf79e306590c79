"""Stages sent to the GPU pool: child runs of their own, one for each machine that shares the work.

A child that completes without its artifact in the store is an error.
"""

import time
from typing import Any
from uuid import uuid4

from httpx import HTTPError
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.deployments import run_deployment
from prefect.states import Cancelling

from artifacts.artifact_store import Store
from artifacts.check import refuse_failed
from artifacts.errors import StageError
from artifacts.text import one_line
from tasks.cancellation import stop_if_cancelled
from tasks.execution import sharding
from tasks.execution.job import Job, intact_artifact
from tasks.execution.live_curve import LiveCurveReader
from tasks.execution.stage import Shard
from tasks.prefect_task import RunEvents, current_listener, log_how_to_resume, title
from tasks.registry import STAGES
from tasks.server_outage import retry

TRIES = 2
"""How often a run is started whose process or machine dies under it: it goes on where the last one was, if it can."""
POLL = 2.0
"""Seconds between looks at the children."""
CURVE_POLL = 5.0
"""Seconds between looks at the learning curve of a child."""


def send(job: Job, path: str) -> None:
    """Run a job on the GPU pool, as one run or as several shards. Returns when the results are in the store.

    `path`: where in the store it will be. StageError if its checks on the CPU or its runs fail.
    """
    store, stage = Store.current(), STAGES[job.stage]
    refuse_failed(sharding.check(store, stage, job, RunEvents(f"check {title(job)}")))
    machines = job.runtime.machines if stage.run_shard else 1
    shards = [Shard(0, 1)] if machines == 1 else sharding.missing_shards(store, job, machines)
    left = "its runs on the GPU pool are cancelled; their checkpoints and finished batches are kept"
    with log_how_to_resume(title(job), lambda: left), get_client(sync_client=True) as client:
        _all(client, {shard: _Child(job, shard) for shard in shards})
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
        run: Any = retry(
            run_deployment,
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
        state = retry(client.read_flow_run, self.id).state
        if state is None or not state.is_final():
            return False
        if state.is_completed():
            return True
        ending = one_line(f"{state.name}: {state.message or 'no message'}", 300)
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


def _all(client: SyncPrefectClient, children: dict[Shard, _Child]) -> None:
    """Wait for all children. If one fails, the others finish: their shards are kept. All end with this run."""
    failed: list[StageError] = []
    running = list(children.values())
    try:
        while running:
            time.sleep(POLL)
            retry(stop_if_cancelled, client)
            for child in list(running):
                child.forward_metrics()
                try:
                    over = child.ended(client)
                except StageError as error:
                    failed.append(error)
                    over = True
                if over:
                    running.remove(child)
    except BaseException:
        for child in running:
            try:
                client.set_flow_run_state(child.id, Cancelling(message="the parent run no longer needs it"))
            except HTTPError as error:  # the error that ended this run is the one to raise
                get_run_logger().warning("%s could not be cancelled: %s", child.name, one_line(error, 120))
        raise
    if failed:
        raise failed[0]

"""Provisioning of a Prefect server, besides its deployments: pools, the GPU limit, a variable, automations.

Found by name and left or brought up to date, so that doing it again changes nothing.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

from prefect.automations import AutomationCore, ChangeFlowRunState, EventTrigger, Posture
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate, WorkPoolCreate, WorkPoolUpdate
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Cancelled, Crashed
from prefect.workers.process import ProcessWorker

from flows.integrations import announcements
from flows.recipe import OVERRIDES
from tasks.registry import STAGES

POOLS = {
    "cpu-pool": "Runs retrain, evaluate, promote, sweep and the stages that need no GPU.",
    "gpu-pool": "Runs train, generate and summarize: on a GPU, or on the CPU of a machine without one.",
}
FORMER_POOL_DESCRIPTIONS = (
    "Runs retrain, evaluate, promote and the stages that need no GPU.",
    "retrain, evaluate, promote, and the stages that need no GPU",
    "train and generate",
)
"""Of stations of earlier versions; a description that people wrote is kept."""
FORMER_AUTOMATION_NAMES = {
    "dialogsum: mark runs without heartbeat as Crashed": "dialogsum: a run that no longer beats has crashed",
    "dialogsum: mark runs that never started as Crashed": "dialogsum: a run that was taken and never began has crashed",
    "dialogsum: finish cancellation of runs whose worker died": "dialogsum: a run whose worker died is cancelled",
}
"""Name -> its name on stations of earlier versions, where it is renamed."""
ONE_AT_A_TIME = ("retrain", "promote", "sweep")
"""Queues of the CPU pool from which one run at a time is started (prefect.yaml has their deployments)."""
HEARTBEATS = timedelta(minutes=5)
"""A run without a heartbeat for this long is marked as Crashed. Runs send one every 30 s (prefect.yaml).

A station's server that was away lets them arrive before it judges (flows/station/server.py).
"""
WATCHED = ["retrain", "evaluate", "promote", "sweep", "summarize", "gc", *(f"stage-{name}" for name in STAGES)]
"""Flows whose runs send heartbeats that often. Flows of other projects may use Prefect's default of three minutes."""
PENDING = timedelta(minutes=10)
"""From a worker's taking a run to its first line: time for a cluster to find a node and fetch an image."""
CANCELLING = timedelta(minutes=5)
"""A worker gives a run half a minute to end."""
PAUSED = "dialogsum_paused"
"""Variable with the pools that `station down` has paused."""


def provision(client: SyncPrefectClient, limits: list[str], notify: list[str] | None) -> list[str]:
    """Make what is missing.

    limits: names of the GPU gates, one for each worker of the GPU pool (tasks/gpu_lease.py).
    notify: Apprise URLs that get announcements; None keeps those of an earlier call.

    Returns the names of the services that get announcements.
    """
    for name, use in POOLS.items():
        pool = WorkPoolCreate(
            name=name, type="process", description=use, base_job_template=ProcessWorker.get_default_base_job_template()
        )
        try:
            client.create_work_pool(pool)
        except ObjectAlreadyExists:
            if client.read_work_pool(name).description in FORMER_POOL_DESCRIPTIONS:
                client.update_work_pool(name, WorkPoolUpdate(description=use))
    _resume(client)
    for name in ONE_AT_A_TIME:
        _limit_queue(client, name)
    for name in limits:
        client.upsert_global_concurrency_limit_by_name(name, 1)
    if client.read_variable_by_name(OVERRIDES) is None:
        client.create_variable(VariableCreate(name=OVERRIDES, value=[], tags=["dialogsum"]))
    blocks = announcements.save_blocks(client, notify)
    for automation in [*automations(), *announcements.automations(blocks)]:
        names = [automation.name, FORMER_AUTOMATION_NAMES.get(automation.name, automation.name)]
        existing = [each for name in dict.fromkeys(names) for each in client.read_automations_by_name(name)]
        for duplicate in existing[1:]:
            client.delete_automation(duplicate.id)
        if not existing:
            client.create_automation(automation)
        elif _content(existing[0]) != _content(
            automation
        ):  # an update forgets what it waits for: the heartbeats of runs
            client.update_automation(existing[0].id, automation)
    return announcements.services(blocks)


def station_overrides(client: SyncPrefectClient) -> list[str]:
    """The overrides in the Prefect variable; none if it is missing or invalid (runs then refuse it)."""
    variable = client.read_variable_by_name(OVERRIDES)
    value: Any = variable.value if variable else []
    return value if isinstance(value, list) and all(isinstance(each, str) for each in value) else []


def _limit_queue(client: SyncPrefectClient, name: str) -> None:
    """Make a queue of the CPU pool with a limit of one run; a limit that people have set stays."""
    try:
        queue = client.read_work_queue_by_name(name, "cpu-pool")
    except ObjectNotFound:
        client.create_work_queue(name, "one run at a time", concurrency_limit=1, work_pool_name="cpu-pool")
        return
    if queue.concurrency_limit is None:
        client.update_work_queue(queue.id, concurrency_limit=1)


def _content(automation: AutomationCore) -> Any:
    """The content of an automation without its ids, which are new each time."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: bare(each) for key, each in value.items() if key != "id"}
        return sorted(map(bare, value), key=str) if isinstance(value, list) else value

    return bare(AutomationCore.model_validate(automation.model_dump()).model_dump(mode="json"))


@contextmanager
def paused() -> Iterator[None]:
    """Pause our work pools in the block, so that no worker takes runs. A pool that was already paused stays paused."""
    with get_client(sync_client=True) as client:
        _resume(client)
        ours = [pool.name for pool in client.read_work_pools() if pool.name in POOLS and not pool.is_paused]
        # so that the next `up` can resume them if this process is killed
        client.create_variable(VariableCreate(name=PAUSED, value=ours, tags=["dialogsum"]))
        for name in ours:
            client.update_work_pool(name, WorkPoolUpdate(is_paused=True))
        try:
            yield
        finally:
            _resume(client)


def _resume(client: SyncPrefectClient) -> None:
    """Resume the pools that `paused` has paused, also in a process that was killed."""
    held = client.read_variable_by_name(PAUSED)
    if held is not None:
        for name in cast("list[str]", held.value):
            client.update_work_pool(name, WorkPoolUpdate(is_paused=False))
        client.delete_variable_by_name(PAUSED)


def finalize_orphaned_runs(runs: Iterable[str]) -> None:
    """Mark flow runs whose processes are gone as ended; otherwise they would count as running forever."""
    message = "the station was taken down"
    with get_client(sync_client=True) as client:
        for run in map(UUID, runs):
            state = client.read_flow_run(run).state
            if state is None or not state.is_final():
                # a run in state Cancelling may only become Cancelled
                cancelled = state is not None and state.is_cancelling()
                client.set_flow_run_state(run, Cancelled(message=message) if cancelled else Crashed(message=message))


def automations() -> list[AutomationCore]:
    """Automations that end runs whose process died."""
    ends = ("Completed", "Failed", "Cancelled", "Crashed")
    scheduled = ("Scheduled", "Late", "AwaitingConcurrencySlot", "AwaitingRetry")
    return [
        _ending(
            "mark runs without heartbeat as Crashed",
            f"Waits for a run of this project that sends no heartbeat for {HEARTBEATS.seconds} s",
            after=("Running", "heartbeat"),
            expect=("heartbeat", *ends),
            within=HEARTBEATS,
            state=StateType.CRASHED,
            message=f"no heartbeat for {HEARTBEATS.seconds} s: its worker or process died",
        ),
        _ending(
            "mark runs that never started as Crashed",
            f"Waits for a run of this project that a worker has picked up and that does not start "
            f"in {PENDING.seconds // 60} minutes",
            after=("Pending", "Submitting", "InfrastructurePending"),
            expect=("Running", "Retrying", "Cancelling", "Submitting", "InfrastructurePending", *scheduled, *ends),
            within=PENDING,
            state=StateType.CRASHED,
            message=f"did not begin within {PENDING.seconds} s: its worker or process died",
        ),
        _ending(
            "finish cancellation of runs whose worker died",
            f"Waits for a run of this project that is Cancelling and does not end "
            f"in {CANCELLING.seconds // 60} minutes",
            after=("Cancelling",),
            expect=ends,
            within=CANCELLING,
            state=StateType.CANCELLED,
            message=f"did not end within {CANCELLING.seconds} s: its worker died",
        ),
    ]


def _ending(
    name: str,
    waits: str,
    after: Iterable[str],
    expect: Iterable[str],
    within: timedelta,
    state: StateType,
    message: str,
) -> AutomationCore:
    """End a run of this project if none of the expected events follows an event."""
    return AutomationCore(
        name=f"dialogsum: {name}",
        description=(
            f"{waits}, because its worker or process died. Then marks the run as {state.value.title()}; otherwise the "
            "run would hold its concurrency slots, and the next run would wait forever."
        ),
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match={"prefect.resource.id": "prefect.flow-run.*"},
            after={f"prefect.flow-run.{event}" for event in after},
            expect={f"prefect.flow-run.{event}" for event in expect},
            match_related={"prefect.resource.role": "flow", "prefect.resource.name": WATCHED},
            for_each={"prefect.resource.id"},
            threshold=1,
            within=within,
        ),
        actions=[ChangeFlowRunState(name=None, force=False, state=state, message=message)],
    )

"""The Prefect server's part of the status: pools with their workers and queues, GPU slots, the last failure."""

import re
from collections.abc import Callable
from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, StateType, WorkerStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.types._datetime import now

from artifacts.text import one_line
from artifacts.timestamps import timestamp_ago
from flows.station.provisioning import POOLS, WATCHED
from flows.station.slot_recovery import gpu_limits
from flows.station.status_records import Failure, GpuSlot, Pool, Run

BROKEN = (StateType.FAILED, StateType.CRASHED)
AT_WORK = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)
AT_ONCE = 200
"""Records in one answer of the server, at most."""


def check_pools(client: SyncPrefectClient, alive: set[str]) -> tuple[list[Pool], list[str]]:
    """This project's pools, and a line for each one that is paused or has no worker.

    alive: names of the workers whose processes run on this machine; a new one sends its first heartbeat later.
    """
    pools, problems = list[Pool](), list[str]()
    for name in POOLS:
        try:
            found = client.read_work_pool(name)
        except ObjectNotFound:
            continue
        online = {w.name for w in client.read_workers_for_work_pool(name) if w.status == WorkerStatus.ONLINE}
        workers = sorted(online | {worker for worker in alive if worker.startswith(name.removesuffix("-pool"))})
        of_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[name]))
        due = FlowRunFilterNextScheduledStartTime.model_validate({"before_": now("UTC")})
        waiting = FlowRunFilter(state=_state(StateType.SCHEDULED), next_scheduled_start_time=due)
        pools.append(
            Pool(
                name=name,
                paused=found.is_paused,
                workers=tuple(workers),
                waiting=client.count_flow_runs(work_pool_filter=of_pool, flow_run_filter=waiting),
                running=client.count_flow_runs(
                    work_pool_filter=of_pool, flow_run_filter=FlowRunFilter(state=_state(*AT_WORK))
                ),
            )
        )
        if found.is_paused:
            problems.append(f"{name} is paused, so that its runs wait: `prefect work-pool resume {name}`")
        if not workers:
            problems.append(f"no worker takes runs of {name}: start one with `dialogsum station up`, or on its machine")
    return pools, problems


def gpu_slots(client: SyncPrefectClient) -> list[GpuSlot]:
    """The concurrency limits of the GPUs. The server does not record which run holds a slot."""
    limits = gpu_limits(client)
    on_gpu = WorkPoolFilter(name=WorkPoolFilterName(any_=["gpu-pool"]))
    running = FlowRunFilter(state=_state(StateType.RUNNING, StateType.CANCELLING))
    taken = any(limit.active_slots for limit in limits)
    runs = (
        client.read_flow_runs(work_pool_filter=on_gpu, flow_run_filter=running, limit=AT_ONCE, sort=FlowRunSort.ID_DESC)
        if taken
        else []
    )
    return [
        GpuSlot(
            name=limit.name,
            slots=limit.limit,
            taken=limit.active_slots,
            held_by=tuple(run.name for run in runs) if limit.active_slots else (),
        )
        for limit in sorted(limits, key=lambda limit: limit.name)
    ]


def last_failure(client: SyncPrefectClient, ui: str) -> Failure | None:
    """The newest run of this project that failed or crashed, and what to do about it."""
    ours = FlowFilter(name=FlowFilterName(any_=WATCHED))
    broken = FlowRunFilter(state=_state(*BROKEN))
    newest = client.read_flow_runs(flow_filter=ours, flow_run_filter=broken, sort=FlowRunSort.END_TIME_DESC, limit=1)
    if not newest:
        return None
    run, named = newest[0], deployment_names(client)
    since = FlowRunFilter(
        state=_state(StateType.COMPLETED),
        start_time=FlowRunFilterStartTime(after_=run.end_time or run.expected_start_time),
    )
    same = FlowFilter(name=FlowFilterName(any_=[client.read_flow(run.flow_id).name]))
    succeeded = client.count_flow_runs(flow_filter=same, flow_run_filter=since) > 0
    record = describe_run(run, ui, named(run))
    return Failure(**record.model_dump(), remedy=remedy(record), succeeded_since=succeeded)


def remedy(run: Run) -> str:
    """What to do about a run that failed or crashed."""
    again = f"start it again with `prefect deployment run {run.deployment}`" if run.deployment else "repeat its command"
    if run.state == "Crashed":
        return f"its process or machine died: {again}; finished stages and checkpoints are kept"
    return f"mend what the message names, then {again}; finished stages are kept"


def deployment_names(client: SyncPrefectClient) -> Callable[[FlowRun], str | None]:
    """Function from a run to the name of its deployment, `retrain/retrain`."""

    def name(run: FlowRun) -> str | None:
        if run.deployment_id is None:
            return None
        try:
            return f"{client.read_flow(run.flow_id).name}/{client.read_deployment(run.deployment_id).name}"
        except ObjectNotFound:  # deleted since
            return None

    return name


def describe_run(run: FlowRun, ui: str, deployment: str | None) -> Run:
    """A run as the status shows it."""
    state = run.state
    at = state.timestamp if state else run.created or now("UTC")
    return Run(
        id=str(run.id),
        name=run.name,
        deployment=deployment,
        state=state.name or state.type.value.title() if state else "Pending",
        at=timestamp_ago(at, timedelta(0)),
        message=one_line(re.sub(r"^Flow run encountered an exception: ", "", (state.message or "") if state else "")),
        url=f"{ui}/runs/flow-run/{run.id}",
    )


def _state(*types: StateType) -> FlowRunFilterState:
    return FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types)))

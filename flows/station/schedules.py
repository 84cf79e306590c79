"""Checks of a server's schedules: each has an upcoming run, and a worker takes the runs that are due."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import DeploymentSchedule, FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.types._datetime import now

SCHEDULING = timedelta(seconds=120)
"""The scheduler looks at all deployments once a minute."""
OVERDUE = timedelta(minutes=10)
"""A worker looks for runs every 10 to 15 s."""
AT_ONCE = 200
"""Runs or deployments in one answer of the server, at most; the scheduler plans 100 runs of a schedule ahead."""


def check_schedules(server_began: datetime) -> tuple[list[str], list[str]]:
    """The next run of every active schedule, one line each, and what is wrong with schedules, one line each.

    server_began: when the server was started. What a fresh one has not done yet is not wrong.
    """
    lines, problems = list[str](), list[str]()
    with get_client(sync_client=True) as client:
        for deployment in client.read_deployments(limit=AT_ONCE):
            active = [schedule for schedule in deployment.schedules if schedule.active and not deployment.paused]
            name = f"{client.read_flow(deployment.flow_id).name}/{deployment.name}" if active else ""
            runs = _scheduled(client, deployment) if active else []
            for schedule in active:
                _check(client, name, deployment, schedule, runs, server_began, lines, problems)
    return lines or ["next scheduled run: none, since no schedule is active"], problems


def _check(
    client: SyncPrefectClient,
    name: str,
    deployment: DeploymentResponse,
    schedule: DeploymentSchedule,
    runs: list[FlowRun],
    server_began: datetime,
    lines: list[str],
    problems: list[str],
) -> None:
    times = [
        run.next_scheduled_start_time
        for run in runs
        if run.next_scheduled_start_time and run.created_by and run.created_by.id == schedule.id
    ]
    upcoming = [time for time in times if time > now("UTC")]
    overdue = [time for time in times if time < now("UTC") - OVERDUE]
    settled = now("UTC") - max(server_began, schedule.updated or server_began) > SCHEDULING
    if upcoming:
        lines.append(f"next scheduled run: {name}, {_local(min(upcoming), schedule)}")
    elif settled:
        problems.append(f"the schedule {_rule(schedule)} of {name} has no upcoming run: no run will start by itself")
    else:
        lines.append(
            f"next scheduled run: {name}, not scheduled yet ({_rule(schedule)}; the server takes up to a minute)"
        )
    if overdue and settled and not _busy(client, deployment):
        problems.append(
            f"the run of {name} that was due {_local(min(overdue), schedule)} has not started although nothing else "
            "runs "
            f"on {deployment.work_pool_name}: does its worker run, or is the pool paused?"
        )


def _scheduled(client: SyncPrefectClient, deployment: DeploymentResponse) -> list[FlowRun]:
    return client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
        flow_run_filter=_in_state(StateType.SCHEDULED),
        sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
        limit=AT_ONCE,
    )


def _busy(client: SyncPrefectClient, deployment: DeploymentResponse) -> bool:
    """Whether the pool is at work, so that a run may be waiting for its turn."""
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[deployment.work_pool_name or ""]))
    running = _in_state(StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)
    return bool(client.read_flow_runs(work_pool_filter=pool, flow_run_filter=running, limit=1))


def _in_state(*types: StateType) -> FlowRunFilter:
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))))


def _zone(schedule: DeploymentSchedule) -> str:
    return getattr(schedule.schedule, "timezone", None) or "UTC"


def _local(time: datetime, schedule: DeploymentSchedule) -> str:
    """`Mon 2026-11-30 03:00 Europe/Berlin`."""
    return f"{time.astimezone(ZoneInfo(_zone(schedule))):%a %Y-%m-%d %H:%M} {_zone(schedule)}"


def _rule(schedule: DeploymentSchedule) -> str:
    rule = schedule.schedule.model_dump(mode="json", exclude_none=True)
    return f"{rule.get('cron') or rule.get('rrule') or rule.get('interval')!r} {_zone(schedule)}"

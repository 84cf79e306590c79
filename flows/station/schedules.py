"""Checks of a server's schedules: each has an upcoming run, due runs start, and the last one did not fail."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from prefect.client.orchestration import SyncPrefectClient
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

from artifacts.timestamps import timestamp_ago
from flows.station.server_status import describe_run, remedy
from flows.station.status_records import Run, Schedule
from flows.time_labels import minute

SCHEDULING = timedelta(seconds=120)
"""The scheduler looks at all deployments once a minute."""
OVERDUE = timedelta(minutes=10)
"""A worker looks for runs every 10 to 15 s."""
BROKEN = ("Failed", "Crashed")
AT_ONCE = 200
"""Runs or deployments in one answer of the server, at most; the scheduler plans 100 runs of a schedule ahead."""


def check_schedules(client: SyncPrefectClient, server_began: datetime, ui: str) -> tuple[list[Schedule], list[str]]:
    """The schedules of all deployments, and what is wrong with them, one line each.

    server_began: when the server was started. What a fresh one has not done yet is not wrong.
    ui: address of the server's UI.
    """
    schedules, problems = list[Schedule](), list[str]()
    for deployment in client.read_deployments(limit=AT_ONCE):
        if not deployment.schedules:
            continue
        name = f"{client.read_flow(deployment.flow_id).name}/{deployment.name}"
        planned, last = _scheduled(client, deployment), _last_run(client, deployment, name, ui)
        for schedule in deployment.schedules:
            record, wrong = _check(client, name, deployment, schedule, planned, server_began)
            schedules.append(record.model_copy(update={"last_run": last}))
            problems += wrong
        if last is not None and last.state in BROKEN:
            problems.append(
                f"the last run of {name}, {last.name}, {last.state.lower()} on {minute(last.at)} UTC: "
                f"{last.message or 'without a message'}; {remedy(last)}"
            )
    return schedules, problems


def _check(
    client: SyncPrefectClient,
    name: str,
    deployment: DeploymentResponse,
    schedule: DeploymentSchedule,
    planned: list[FlowRun],
    server_began: datetime,
) -> tuple[Schedule, list[str]]:
    """A schedule without its last run, and what is wrong with it."""
    times = [
        run.next_scheduled_start_time
        for run in planned
        if run.next_scheduled_start_time and run.created_by and run.created_by.id == schedule.id
    ]
    active = schedule.active and not deployment.paused
    upcoming = [time for time in times if active and time > now("UTC")]
    overdue = [time for time in times if active and time < now("UTC") - OVERDUE]
    settled = now("UTC") - max(server_began, schedule.updated or server_began) > SCHEDULING
    problems = []
    if active and not upcoming and settled:
        problems.append(f"the schedule {_rule(schedule)} of {name} has no upcoming run: no run will start by itself")
    if overdue and settled and not _busy(client, deployment):
        problems.append(
            f"the run of {name} that was due {_local(min(overdue), _zone(schedule))} has not started although nothing "
            f"else runs on {deployment.work_pool_name}: does its worker run, or is the pool paused?"
        )
    record = Schedule(
        deployment=name,
        rule=_rule(schedule),
        timezone=_zone(schedule),
        active=active,
        next_run=timestamp_ago(min(upcoming), timedelta(0)) if upcoming else None,
        last_run=None,
    )
    return record, problems


def next_run(schedule: Schedule) -> str:
    """When the next run is due, in the time zone of the schedule: `Mon 2026-11-30 03:00 Europe/Berlin`."""
    if not schedule.active:
        return "none: the schedule is switched off, in the UI or by `prefect deployment schedule pause`"
    if schedule.next_run is None:
        return f"not scheduled yet ({schedule.rule}; the server takes up to a minute)"
    return _local(datetime.fromisoformat(schedule.next_run), schedule.timezone)


def _scheduled(client: SyncPrefectClient, deployment: DeploymentResponse) -> list[FlowRun]:
    return client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
        flow_run_filter=_in_state(StateType.SCHEDULED),
        sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC,
        limit=AT_ONCE,
    )


def _last_run(client: SyncPrefectClient, deployment: DeploymentResponse, name: str, ui: str) -> Run | None:
    begun = _in_state(
        StateType.RUNNING,
        StateType.CANCELLING,
        StateType.COMPLETED,
        StateType.FAILED,
        StateType.CRASHED,
        StateType.CANCELLED,
    )
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
        flow_run_filter=begun,
        sort=FlowRunSort.START_TIME_DESC,
        limit=1,
    )
    return describe_run(runs[0], ui, name) if runs else None


def _busy(client: SyncPrefectClient, deployment: DeploymentResponse) -> bool:
    """Whether the pool is at work, so that a run may be waiting for its turn."""
    pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[deployment.work_pool_name or ""]))
    running = _in_state(StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)
    return bool(client.read_flow_runs(work_pool_filter=pool, flow_run_filter=running, limit=1))


def _in_state(*types: StateType) -> FlowRunFilter:
    return FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(types))))


def _zone(schedule: DeploymentSchedule) -> str:
    return getattr(schedule.schedule, "timezone", None) or "UTC"


def _local(time: datetime, zone: str) -> str:
    """`Mon 2026-11-30 03:00 Europe/Berlin`."""
    return f"{time.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M} {zone}"


def _rule(schedule: DeploymentSchedule) -> str:
    rule = schedule.schedule.model_dump(mode="json", exclude_none=True)
    return f"{rule.get('cron') or rule.get('rrule') or rule.get('interval')!r} {_zone(schedule)}"

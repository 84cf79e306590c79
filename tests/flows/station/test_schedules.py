"""A schedule that starts no run is noticed. The tests' server has no scheduler: none of its schedules has a run ahead.

That a station's schedules do start runs is shown in tests/system/test_station.py.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import State
from prefect.client.schemas.schedules import CronSchedule
from prefect.states import Completed, Crashed, Failed, Running

from flows.station import schedules
from flows.station.schedules import check_schedules, next_run
from flows.station.status_records import Schedule

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
UI = "http://127.0.0.1:4200"
MONDAY = CronSchedule(cron="0 3 * * 1", timezone="Europe/Berlin")


@flow
def weekly() -> None:
    """A flow to deploy."""


@pytest.fixture
def client(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncPrefectClient]:
    monkeypatch.setattr(schedules, "SCHEDULING", timedelta(0))  # or what was deployed just now would be no problem
    with get_client(sync_client=True) as session:
        yield session


@pytest.fixture
def deployed(client: SyncPrefectClient) -> Iterator[tuple[str, UUID]]:
    """A deployment with a schedule: the name of both, and its id."""
    name = uuid4().hex
    planned = [DeploymentScheduleCreate(schedule=MONDAY, active=True)]
    deployment = client.create_deployment(client.create_flow(weekly), name, schedules=planned)
    yield f"weekly/{name}", deployment
    client.delete_deployment(deployment)


def of(name: str, found: list[Schedule]) -> Schedule:
    (schedule,) = [each for each in found if each.deployment == name]
    return schedule


def test_schedule_without_an_upcoming_run_is_a_problem_but_not_at_once(
    client: SyncPrefectClient, deployed: tuple[str, UUID], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new server or schedule needs a minute: until then it is stated, and no problem."""
    name, _ = deployed
    wrong = f"the schedule '0 3 * * 1' Europe/Berlin of {name} has no upcoming run: no run will start by itself"
    assert wrong in check_schedules(client, LONG_AGO, UI)[1]
    monkeypatch.undo()
    found, problems = check_schedules(client, LONG_AGO, UI)
    assert wrong not in problems
    assert next_run(of(name, found)).startswith("not scheduled yet")


def test_schedule_that_is_switched_off_is_no_problem_but_is_stated(
    client: SyncPrefectClient, deployed: tuple[str, UUID]
) -> None:
    name, deployment = deployed
    (schedule,) = client.read_deployment_schedules(deployment)
    client.update_deployment_schedule(deployment, schedule.id, active=False)
    found, problems = check_schedules(client, LONG_AGO, UI)
    assert not any(name in problem for problem in problems)
    assert not of(name, found).active
    assert "switched off" in next_run(of(name, found))


def test_next_run_is_printed_in_the_time_zone_of_its_schedule(
    client: SyncPrefectClient, deployed: tuple[str, UUID]
) -> None:
    """A run as the server's scheduler would have created it, through the API."""
    name, deployment = deployed
    client.request("POST", "/deployments/{id}/schedule", path_params={"id": deployment}, json={"min_runs": 2})
    found, problems = check_schedules(client, LONG_AGO, UI)
    assert not any(name in problem for problem in problems)
    today = datetime.now(ZoneInfo("Europe/Berlin"))
    monday = today.replace(hour=3, minute=0) + timedelta(days=-today.weekday() % 7)
    monday += timedelta(days=7 if monday <= today else 0)
    assert next_run(of(name, found)) == f"{monday:%a %Y-%m-%d} 03:00 Europe/Berlin"


def test_a_run_that_was_due_and_did_not_start_is_a_problem(
    client: SyncPrefectClient, deployed: tuple[str, UUID]
) -> None:
    """Such as while its pool is paused: the schedule makes runs, and none of them begins."""
    name, deployment = deployed
    span = {"start_time": "2026-03-01T00:00:00Z", "end_time": "2026-03-08T00:00:00Z"}
    client.request("POST", "/deployments/{id}/schedule", path_params={"id": deployment}, json=span)
    problems = check_schedules(client, LONG_AGO, UI)[1]
    assert any(
        f"the run of {name} that was due Mon 2026-03-02 03:00 Europe/Berlin has not started" in p for p in problems
    )


@pytest.mark.parametrize(
    ("states", "broken"),
    [
        ((Failed(message="no memory: use a smaller batch"),), True),
        ((Crashed(message="no heartbeat"),), True),
        ((Failed(message="no memory"), Completed()), False),
    ],
)
def test_the_last_run_of_a_scheduled_deployment_is_a_problem_as_long_as_it_failed(
    client: SyncPrefectClient, deployed: tuple[str, UUID], states: tuple[State, ...], broken: bool
) -> None:
    """With its message and the command that starts it again; a later run that completes ends the problem."""
    name, deployment = deployed
    for state in states:
        run = client.create_flow_run_from_deployment(deployment)
        client.set_flow_run_state(run.id, Running(), force=True)
        client.set_flow_run_state(run.id, state, force=True)
    found, problems = check_schedules(client, LONG_AGO, UI)
    mine = [problem for problem in problems if f"the last run of {name}" in problem]
    assert bool(mine) == broken
    assert all(str(states[0].message) in each and f"`prefect deployment run {name}`" in each for each in mine)
    last = of(name, found).last_run
    assert last is not None
    assert (last.state, last.deployment) == (states[-1].name, name)

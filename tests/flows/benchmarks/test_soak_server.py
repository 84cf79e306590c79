"""What a soak asks of Prefect's server, on a real one: scheduled runs, and a shorter wait for heartbeats."""

from datetime import UTC, datetime, timedelta

import pytest
from prefect import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_URL

from artifacts.errors import StageError
from flows.benchmarks import soak_server
from flows.benchmarks.soak_server import HASTE, HEARTBEAT_AUTOMATION, SoakServer
from flows.station.provisioning import automations


@pytest.fixture
def server(prefect_server: None) -> SoakServer:
    return SoakServer(str(PREFECT_API_URL.value()))


def test_a_run_comes_from_the_schedule_and_is_due_now(server: SoakServer) -> None:
    """The server makes it from the schedule; until a worker takes it, it is unfinished. A week later is the next."""
    with get_client(sync_client=True) as client:
        schedule = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 3 * * 1"), slug="weekly")
        flow = client.create_flow_from_name("soaked")
        deployment = client.create_deployment(flow, name="soaked", schedules=[schedule])
        identifier = server.scheduled("soaked")
        run = server.run(identifier)
        assert (run["deployment_id"], run["auto_scheduled"]) == (str(deployment), True)
        assert abs(datetime.fromisoformat(run["expected_start_time"]) - datetime.now(UTC)) < timedelta(minutes=2)
        soak_server.wait_until(lambda: identifier in {each["id"] for each in server.unfinished()}, "the run to be due")
        assert server.count_runs() >= 1
        assert client.read_deployment(deployment).schedules[0].schedule.interval == timedelta(days=7)  # type: ignore[union-attr]
        client.delete_deployment(deployment)


def test_only_the_wait_for_heartbeats_becomes_shorter(server: SoakServer) -> None:
    """Of the automation that a station has for it; what it does stays, and so do the other automations."""
    with get_client(sync_client=True) as client:
        created = {client.create_automation(each): each for each in automations()}
        server.hasten()
        for identifier, before in created.items():
            (after,) = client.read_automations_by_name(before.name)
            own = before.name == HEARTBEAT_AUTOMATION
            assert after.trigger.within == (timedelta(seconds=HASTE) if own else before.trigger.within)  # type: ignore[union-attr]
            assert after.trigger.expect == before.trigger.expect  # type: ignore[union-attr]
            assert [a.model_dump(exclude={"id"}) for a in after.actions] == [
                a.model_dump(exclude={"id"}) for a in before.actions
            ]
            client.delete_automation(identifier)


def test_what_never_comes_to_hold_ends_the_soak_with_what_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak_server, "PATIENCE", 0.0)
    with pytest.raises(StageError, match="in vain for the end of run x"):
        soak_server.wait_until(lambda: False, "the end of run x")

"""Texts of announcements, as Prefect's own template environment renders them from events of its server."""

from datetime import UTC, datetime
from typing import cast
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.server.events.actions import SendNotification
from prefect.server.events.schemas.events import ReceivedEvent, Resource
from prefect.server.models.events import state_payload
from prefect.server.schemas.core import Flow
from prefect.server.schemas.responses import FlowRunResponse
from prefect.server.schemas.states import Crashed, Failed, State, StateType
from prefect.server.utilities.user_templates import render_user_template_sync
from prefect.settings import PREFECT_UI_URL, temporary_settings

from flows.integrations.announcements import automations, saved_blocks

RUN = UUID("11111111-2222-3333-4444-555555555555")
LINK = f"http://prefect.example.org/runs/flow-run/{RUN}"


def block(name: str, url: str) -> BlockDocument:
    return BlockDocument(
        id=uuid4(),
        name=name,
        data={"url": url},
        block_schema_id=uuid4(),
        block_type_id=uuid4(),
        block_type_name="Slack",
    )


def rendered(automation: str, event: ReceivedEvent, **context: object) -> tuple[str, str]:
    """Subject and body; the server's own schema of the action checks the templates."""
    (found,) = [each for each in automations([block("dialogsum-notify-1", "json://h/x")]) if each.name == automation]
    action = SendNotification.model_validate(found.actions[0].model_dump())
    subject, body = (
        render_user_template_sync(text, {"event": event} | context) for text in (action.subject, action.body)
    )
    return subject, body


def event_of(name: str, **payload: object) -> ReceivedEvent:
    resource = Resource({"prefect.resource.id": f"prefect.flow-run.{RUN}"})
    return ReceivedEvent(occurred=datetime.now(UTC), event=name, resource=resource, payload=payload, id=uuid4())


def of_run(automation: str, name: str, state: State, ui: str | None = "http://prefect.example.org") -> tuple[str, str]:
    run = FlowRunResponse(
        id=RUN, name=name, flow_id=uuid4(), state=state, expected_start_time=datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
    )
    event = event_of(f"prefect.flow-run.{state.name}", validated_state=state_payload(state))
    with temporary_settings({PREFECT_UI_URL: ui}):
        return rendered(automation, event, flow_run=run, flow=Flow(id=run.flow_id, name="retrain"))


@pytest.mark.parametrize("state", ["promoted", "rejected"])
def test_a_decision_is_announced_with_its_sentence_and_the_address_of_the_report(state: str) -> None:
    event = event_of(
        f"dialogsum.model.{state}",
        subject=f"train-1a2b3c4d {state}, ROUGE-1 +1.2 against the champion",
        summary="train-1a2b3c4d is <better>. ROUGE-1 44.3, +1.2 (+0.4 to +2.0) against the champion.",
        report="http://reports.example.org/report/report-5e6f7a8b",
    )
    assert rendered(f"dialogsum: a model was {state}", event) == (
        f"dialogsum: train-1a2b3c4d {state}, ROUGE-1 +1.2 against the champion",
        "train-1a2b3c4d is <better>. ROUGE-1 44.3, +1.2 (+0.4 to +2.0) against the champion.\n"
        "Report: http://reports.example.org/report/report-5e6f7a8b",
    )


def test_a_failed_run_is_announced_with_its_message_and_its_link() -> None:
    state = Failed(message="data.source: no folder /no/such")
    assert of_run("dialogsum: a retraining did not complete", "retrain gemma-2b", state) == (
        "dialogsum: retrain gemma-2b: Failed",
        f"data.source: no folder /no/such\nFinished stages are kept: a retry of the run goes on there. Run: {LINK}",
    )


def test_a_run_that_crashed_before_it_had_a_name_and_a_message_is_announced_with_its_flow() -> None:
    assert of_run("dialogsum: a retraining did not complete", "jasmine-tiger", Crashed()) == (
        "dialogsum: retrain jasmine-tiger: Crashed",
        f"Prefect has no message.\nFinished stages are kept: a retry of the run goes on there. Run: {LINK}",
    )


def test_a_late_run_is_announced_with_the_time_that_it_was_due() -> None:
    state = State(type=StateType.SCHEDULED, name="Late")
    subject, body = of_run("dialogsum: a schedule was missed", "jasmine-tiger", state)
    assert subject == "dialogsum: retrain jasmine-tiger is late"
    assert body.startswith("It was due at 2026-03-02 03:00 UTC and has not started.")
    assert body.endswith(f"Run: {LINK}")


def test_each_action_sends_to_the_url_of_its_number_also_beyond_nine() -> None:
    """A failed delivery is known by the number of its action alone. No automation contains a URL."""
    urls = [f"{'json' if n % 2 else 'xml'}://me:s3cret@h{n}/x" for n in range(1, 12)]
    stored = {f"dialogsum-notify-{n}": block(f"dialogsum-notify-{n}", url) for n, url in enumerate(urls, 1)}

    class Server:
        def read_block_documents(self) -> list[BlockDocument]:
            return [block("another-block", "json://h/x"), *sorted(stored.values(), key=lambda each: str(each.name))]

    blocks = saved_blocks(cast(SyncPrefectClient, Server()))
    assert [each.name for each in blocks] == list(stored)
    for automation in automations(blocks):
        sent_to = [action.block_document_id for action in automation.actions if action.type == "send-notification"]
        assert sent_to == [each.id for each in stored.values()]
        assert "s3cret" not in automation.model_dump_json()
        assert automation.description.endswith("sends a message to " + ", ".join(["JSON", "XML"] * 5 + ["JSON"]) + ".")

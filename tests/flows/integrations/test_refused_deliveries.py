"""Lines about deliveries that failed; tests/system/test_announcements.py has those that real servers refuse."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.events import ReceivedEvent, Resource

from flows.integrations.refused_deliveries import refused_deliveries

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SECRET = "https://hooks.example.org/services/s3cret"


def lines(payload: dict[str, Any]) -> list[str]:
    block = BlockDocument(
        id=uuid4(),
        name="dialogsum-notify-1",
        data={"url": "json://h/x"},
        block_schema_id=uuid4(),
        block_type_id=uuid4(),
        block_type_name="Slack Webhook",
        updated=NOW - timedelta(hours=2),
    )
    event = ReceivedEvent(
        occurred=NOW - timedelta(hours=1),
        received=NOW,
        event="prefect.automation.action.failed",
        resource=Resource({"prefect.resource.id": f"prefect.automation.{uuid4()}"}),
        payload=payload | {"action_index": 0},
        id=uuid4(),
    )
    server = SimpleNamespace(
        read_block_documents=lambda: [block], read_events=lambda *_, **__: SimpleNamespace(events=[event])
    )
    return refused_deliveries(cast(SyncPrefectClient, server), NOW)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (
            {
                "reason": "Notification failed",
                "notification_log": f"[DEBUG]: to {SECRET}\n[WARNING]: Failed to send, error=403.\n[INFO]: {SECRET}",
            },
            "Failed to send, error=403.",
        ),
        (
            {"reason": f"The notification block was invalid: 1 validation error\nurl\n  input_value={SECRET}"},
            "The notification block was invalid: 1 validation error",
        ),
        ({"reason": "Notification failed", "notification_log": f"[DEBUG]: {SECRET}"}, "Notification failed"),
    ],
)
def test_a_line_has_the_reason_without_what_may_contain_the_url(payload: dict[str, Any], reason: str) -> None:
    assert lines(payload) == [
        f"a message to JSON was not delivered at 2026-03-02 11:00 UTC ({reason}): "
        "check the URL and the service, then run `dialogsum station up --notify URL`"
    ]

"""Announcements that were not delivered, found in the events of Prefect's server."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.events import Event, ResourceSpecification
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventResourceFilter
from prefect.types import DateTime

from artifacts.text import one_line
from flows.integrations.announcements import automations, saved_blocks, services

RECENT = timedelta(days=1)
"""Older ones are not reported."""
MOST_EVENTS = 50
"""The server returns at most this many per request."""
_SENT, _REFUSED = "prefect.automation.action.executed", "prefect.automation.action.failed"


def refused_deliveries(client: SyncPrefectClient, moment: datetime) -> list[str]:
    """A line for each service that did not get the last message to its present URL, since RECENT before `moment`."""
    blocks = saved_blocks(client)
    if not blocks:
        return []
    sent = EventFilter(
        event=EventNameFilter(name=[_SENT, _REFUSED]),
        occurred=EventOccurredFilter(since=DateTime.fromtimestamp((moment - RECENT).timestamp(), moment.tzinfo)),
        resource=EventResourceFilter(
            labels=ResourceSpecification({"prefect.resource.name": [each.name for each in automations(blocks)]})
        ),
    )
    last: dict[int, Event] = {}
    for event in reversed(client.read_events(sent, limit=MOST_EVENTS).events):  # the newest come first
        last[event.payload["action_index"]] = event  # a block that cannot be loaded is not among the related resources
    return [
        f"a message to {service} was not delivered at {last[n].occurred:%Y-%m-%d %H:%M} UTC "
        f"({_reason(last[n].payload)}): check the URL and the service, then run `dialogsum station up --notify URL`"
        for n, (block, service) in enumerate(zip(blocks, services(blocks), strict=True))
        if n in last and last[n].event == _REFUSED and (block.updated is None or last[n].occurred > block.updated)
    ]


def _reason(payload: Mapping[str, Any]) -> str:
    """Warnings and errors of Apprise alone: what it logs at a lower level may contain the URL."""
    said = re.findall(r"^\[(?:WARNING|ERROR|CRITICAL)\]: (.*)$", payload.get("notification_log") or "", re.MULTILINE)
    return one_line("; ".join(said) or str(payload["reason"]).partition("\n")[0], 200)

"""Announcements by mail, Slack, Teams and whatever else Apprise can send to: which events, which words, which services.

Prefect's server sends them: for each event an automation of its own, with one action for each service. `station up
--notify URL` sets them up; the URLs, which contain credentials, are kept in Prefect blocks.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from prefect.automations import AutomationCore, DoNothing, EventTrigger, Posture, SendNotification
from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.events import Event
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventRelatedFilter
from prefect.types import DateTime
from pydantic import SecretStr

from artifacts.text import one_line
from flows.integrations.apprise_urls import NONE, service

BLOCK = "dialogsum-notify"
"""Names of the blocks begin with it."""
FLOWS = ["retrain", "promote", "sweep"]
"""Flows whose failures are announced."""
RECENT = timedelta(days=1)
"""Older refused deliveries are not reported."""
MOST_EVENTS = 50
"""The server returns at most this many per request."""
_RUN = "{{ ' Run: ' ~ (flow_run|ui_url) if flow_run|ui_url else '' }}"
"""A server that was told no address of its UI has none for the run."""
_SENT, _REFUSED = "prefect.automation.action.executed", "prefect.automation.action.failed"


def save_blocks(client: SyncPrefectClient, urls: Sequence[str] | None) -> list[BlockDocument]:
    """Replace the blocks by those of `urls`; None keeps those that exist.

    Returns the blocks, in the order of the URLs.
    """
    if urls is not None:
        wanted = [] if NONE in urls else urls
        for number, url in enumerate(wanted, 1):
            # of Prefect's own blocks, which alone its server knows, this one hands every other URL to Apprise unchanged
            block: Any = SlackWebhook(url=SecretStr(url))
            block.save(f"{BLOCK}-{number}", overwrite=True)
        kept = {f"{BLOCK}-{number}" for number in range(1, len(wanted) + 1)}
        for document in _blocks(client):
            if document.name not in kept:
                client.delete_block_document(document.id)
    return _blocks(client)


def announced_to(client: SyncPrefectClient) -> list[str]:
    """Names of the services that get announcements."""
    return services(_blocks(client))


def _blocks(client: SyncPrefectClient) -> list[BlockDocument]:
    ours = [each for each in client.read_block_documents() if (each.name or "").startswith(BLOCK)]
    return sorted(ours, key=lambda each: each.name or "")


def services(blocks: Sequence[BlockDocument]) -> list[str]:
    """What each block sends to; `a webhook` for a block of an earlier version."""
    urls = [(each.data or {}).get("url") for each in blocks]
    return [service(url.get_secret_value() if isinstance(url, SecretStr) else str(url)) or "a webhook" for url in urls]


def automations(blocks: Sequence[BlockDocument]) -> list[AutomationCore]:
    """One automation for each kind of event; without blocks the event only appears in the event feed of the UI."""
    return [
        _automation(
            blocks,
            "a model was promoted",
            "the event dialogsum.model.promoted: a model became champion",
            EventTrigger(expect={"dialogsum.model.promoted"}, match={"prefect.resource.id": "dialogsum.adapter.*"}),
            "{{ event.payload.subject }}",
            "{{ event.payload.summary }}\nReport: {{ event.payload.report }}",
        ),
        _automation(
            blocks,
            "a model was rejected",
            "the event dialogsum.model.rejected: the gate rejected a model",
            EventTrigger(expect={"dialogsum.model.rejected"}, match={"prefect.resource.id": "dialogsum.adapter.*"}),
            "{{ event.payload.subject }}",
            "{{ event.payload.summary }}\nReport: {{ event.payload.report }}",
        ),
        _automation(
            blocks,
            "a retraining did not complete",
            "a run of retrain, promote or sweep that ends as Failed or Crashed",
            _of_runs({"prefect.flow-run.Failed", "prefect.flow-run.Crashed"}),
            "{{ flow_run.name }}: {{ event.payload.validated_state.name }}",
            "{{ event.payload.validated_state.message or 'Prefect has no message.' }}\n"
            f"Finished stages are kept: a retry of the run goes on there.{_RUN}",
        ),
        _automation(
            blocks,
            "a schedule was missed",
            "a run of retrain, promote or sweep that no worker has started some time after it was due",
            _of_runs({"prefect.flow-run.Late"}),
            "{{ flow_run.name }} is late",
            "It was due at {{ flow_run.expected_start_time.strftime('%Y-%m-%d %H:%M') }} UTC, and no worker has "
            f"started it: `dialogsum station status` shows what is wrong.{_RUN}",
        ),
    ]


def _of_runs(events: set[str]) -> EventTrigger:
    return EventTrigger(
        expect=events,
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.role": "flow", "prefect.resource.name": FLOWS},
    )


def _automation(
    blocks: Sequence[BlockDocument], name: str, waits_for: str, trigger: EventTrigger, subject: str, body: str
) -> AutomationCore:
    then = (
        f"sends a message to {', '.join(services(blocks))}"
        if blocks
        else "does nothing more; to get a message: dialogsum station up --notify URL"
    )
    sent = [SendNotification(block_document_id=each.id, subject=f"dialogsum: {subject}", body=body) for each in blocks]
    return AutomationCore(
        name=f"dialogsum: {name}",
        description=f"Waits for {waits_for}. Then {then}.",
        trigger=trigger.model_copy(update={"posture": Posture.Reactive, "threshold": 1, "within": timedelta(0)}),
        actions=[*sent] or [DoNothing()],
    )


def refused_deliveries(client: SyncPrefectClient, moment: datetime) -> list[str]:
    """A line for each service that refused the last message to it since RECENT before `moment`."""
    blocks = _blocks(client)
    ids = [f"prefect.block-document.{each.id}" for each in blocks]
    if not ids:
        return []
    names = dict(zip(ids, services(blocks), strict=True))
    sent = EventFilter(
        event=EventNameFilter(name=[_SENT, _REFUSED]),
        occurred=EventOccurredFilter(since=DateTime.fromtimestamp((moment - RECENT).timestamp(), moment.tzinfo)),
        related=EventRelatedFilter(id=ids),
    )
    last: dict[str, Event] = {}
    for event in reversed(client.read_events(sent, limit=MOST_EVENTS).events):  # the newest come first
        last |= {str(each.id): event for each in event.related if str(each.id) in names}
    return [
        f"{names[block]} refused a message at {event.occurred:%Y-%m-%d %H:%M} UTC "
        f"({one_line(event.payload.get('notification_log') or event.payload.get('reason'), 200)}): "
        "check the URL and the service, then run `dialogsum station up --notify URL`"
        for block, event in last.items()
        if event.event == _REFUSED
    ]

"""Announcements by mail, Slack, Teams and whatever else Apprise can send to: which events, which words, which services.

Prefect's server sends them: for each event an automation of its own, with one action for each service. `station up
--notify URL` sets them up; the URLs, which contain credentials, are kept in Prefect blocks.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from prefect.automations import AutomationCore, DoNothing, EventTrigger, Posture, SendNotification
from prefect.blocks.notifications import SlackWebhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import BlockDocument
from pydantic import SecretStr

from flows.integrations.apprise_urls import NONE, in_plain_text, service

BLOCK = "dialogsum-notify"
"""Names of the blocks begin with it."""
FLOWS = ["retrain", "promote", "sweep"]
"""Flows whose failures are announced."""
_NAME = "{{ flow_run.name if flow_run.name.startswith(flow.name) else flow.name ~ ' ' ~ flow_run.name }}"
"""A run has a random name until it starts."""
_RUN = "{{ ' Run: ' ~ (flow_run|ui_url) if flow_run|ui_url else '' }}"
"""A server that was told no address of its UI has none for the run."""


def save_blocks(client: SyncPrefectClient, urls: Sequence[str] | None) -> list[BlockDocument]:
    """Replace the blocks by those of `urls`; None keeps those that exist.

    Returns the blocks, in the order of the URLs.
    """
    if urls is not None:
        changed = {f"{BLOCK}-{n}": in_plain_text(url) for n, url in enumerate([] if NONE in urls else urls, 1)}
        for document in saved_blocks(client):
            name = document.name or ""
            if name not in changed:
                client.delete_block_document(document.id)
            elif _url(document) == changed[name]:  # saved once more, it would look as if its URL had been corrected
                del changed[name]
        for name, url in changed.items():
            # of Prefect's own blocks, which alone its server knows, this one hands every other URL to Apprise unchanged
            block: Any = SlackWebhook(url=SecretStr(url))
            block.save(name, overwrite=True)
    return saved_blocks(client)


def announced_to(client: SyncPrefectClient) -> list[str]:
    """Names of the services that get announcements."""
    return services(saved_blocks(client))


def saved_blocks(client: SyncPrefectClient) -> list[BlockDocument]:
    """The blocks in the order of their URLs, which is also that of the actions of each automation."""
    ours = [each for each in client.read_block_documents() if (each.name or "").startswith(BLOCK)]
    return sorted(ours, key=lambda each: (len(each.name or ""), each.name))


def services(blocks: Sequence[BlockDocument]) -> list[str]:
    """What each block sends to; `a webhook` for a block of an earlier version."""
    return [service(_url(each)) or "a webhook" for each in blocks]


def _url(block: BlockDocument) -> str:
    url = (block.data or {}).get("url")
    return url.get_secret_value() if isinstance(url, SecretStr) else str(url)


def automations(blocks: Sequence[BlockDocument]) -> list[AutomationCore]:
    """One automation for each kind of event; without blocks the event only appears in the event feed of the UI."""
    return [
        *(
            _automation(
                blocks,
                f"a model was {state}",
                f"the event dialogsum.model.{state}: {meaning}",
                EventTrigger(expect={f"dialogsum.model.{state}"}, match={"prefect.resource.id": "dialogsum.adapter.*"}),
                "{{ event.payload.subject }}",
                "{{ event.payload.summary }}\nReport: {{ event.payload.report }}",
            )
            for state, meaning in (("promoted", "a model became champion"), ("rejected", "the gate rejected a model"))
        ),
        _automation(
            blocks,
            "a retraining did not complete",
            "a run of retrain, promote or sweep that ends as Failed or Crashed",
            _of_runs({"prefect.flow-run.Failed", "prefect.flow-run.Crashed"}),
            f"{_NAME}: {{{{ event.payload.validated_state.name }}}}",
            "{{ event.payload.validated_state.message or 'Prefect has no message.' }}\n"
            f"Finished stages are kept: a retry of the run goes on there.{_RUN}",
        ),
        _automation(
            blocks,
            "a schedule was missed",
            "a run of retrain, promote or sweep that has not started some time after it was due",
            _of_runs({"prefect.flow-run.Late"}),
            f"{_NAME} is late",
            "It was due at {{ flow_run.expected_start_time.strftime('%Y-%m-%d %H:%M') }} UTC and has not started. It "
            "waits for an earlier run to end, or no worker takes it: `dialogsum station status` shows whether "
            f"something is wrong.{_RUN}",
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

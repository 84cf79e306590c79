"""Announcements by a real Prefect server, which sends them by Apprise to real servers: HTTP, mail, cards for Teams."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect.client.base import PrefectHttpxSyncClient
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.integrations.refused_deliveries import refused_deliveries
from flows.station.provisioning import provision
from tasks.server_outage import wait_through_outages
from tests.support.receivers import HttpReceiver, MailReceiver, TeamsReceiver
from tests.support.servers import PrefectServer, until

pytestmark = pytest.mark.slow
SUMMARY = "train-1a2b3c4d promoted. ROUGE-1 44.3, +1.2 (+0.4 to +2.0) against the champion, on 500 test dialogues."
UI = "http://prefect.example.org"
REPORT = "http://reports.example.org/report/report-5e6f7a8b"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    started = PrefectServer(tmp_path_factory.mktemp("server"), PREFECT_UI_URL=UI)
    yield started
    started.stop()


@pytest.fixture
def client(server: PrefectServer) -> Iterator[SyncPrefectClient]:
    with temporary_settings({PREFECT_API_URL: server.url}), get_client(sync_client=True) as opened:
        # while SQLite is busy the server answers 503, once for more than a minute, as an image was built beside it
        wait_through_outages(300)
        yield opened


def post(server: PrefectServer, path: str, content: Any) -> Any:
    with PrefectHttpxSyncClient(base_url=server.url, timeout=60) as http:
        answer = http.post(path, json=content)
    return answer.json() if answer.content else None


def emit_promotion(server: PrefectServer, state: str = "promoted") -> None:
    event = {
        "occurred": datetime.now(UTC).isoformat(),
        "event": f"dialogsum.model.{state}",
        "resource": {
            "prefect.resource.id": "dialogsum.adapter.train-1a2b3c4d",
            "prefect.resource.name": "train-1a2b3c4d",
        },
        "payload": {
            "subject": f"train-1a2b3c4d {state}, ROUGE-1 +1.2 against the champion",
            "summary": SUMMARY.replace("promoted", state),
            "report": REPORT,
        },
        "id": str(uuid4()),
    }
    post(server, "/events", [event])


def run_of(server: PrefectServer, flow: str, run_name: str, /, **state: str) -> str:
    """A run in this state, and its id."""
    flow_id = post(server, "/flows/", {"name": flow})["id"]
    run = post(server, "/flow_runs/", {"flow_id": flow_id, "name": run_name, "state": {"type": "SCHEDULED"}})["id"]
    post(server, f"/flow_runs/{run}/set_state", {"state": state, "force": True})
    return str(run)


def test_every_kind_of_event_reaches_every_service_in_words(
    server: PrefectServer, client: SyncPrefectClient, tmp_path: Path
) -> None:
    """Promoted, rejected, failed, crashed, late: what happened, by how much, where to look. No other flow is announced.

    A second `up` without --notify keeps the services. Mail keeps line ends and words in angle brackets.
    """
    with HttpReceiver() as hook, MailReceiver() as mail, TeamsReceiver(tmp_path) as teams:
        names = ["JSON", "E-Mail", "Power Automate / Workflows (for MSTeams)"]
        assert provision(client, ["gpu"], [hook.url, mail.url, teams.url]) == names
        assert provision(client, ["gpu"], None) == names
        emit_promotion(server)
        emit_promotion(server, "rejected")
        run_of(server, "strange", "of another project", type="FAILED", message="not ours")
        failed = run_of(server, "retrain", "retrain gemma-2b", type="FAILED", message="data.source: got <none> & more")
        crashed = run_of(server, "promote", "promote train-1a2b3c4d", type="CRASHED", message="no heartbeat for 300 s")
        late = run_of(server, "retrain", "jasmine-tiger", type="SCHEDULED", name="Late")
        until(lambda: min(map(len, (hook.messages, mail.mails, teams.messages))) >= 5, "five messages each", 120)
        by_subject = {message["title"]: message["message"] for message in hook.messages}
        promoted = by_subject.pop("dialogsum: train-1a2b3c4d promoted, ROUGE-1 +1.2 against the champion")
        assert promoted == f"{SUMMARY}\nReport: {REPORT}"
        rejected = by_subject.pop("dialogsum: train-1a2b3c4d rejected, ROUGE-1 +1.2 against the champion")
        assert rejected.startswith("train-1a2b3c4d rejected. ROUGE-1 44.3")
        text = by_subject.pop("dialogsum: retrain gemma-2b: Failed")
        assert text.startswith("data.source: got <none> & more\n")
        assert text.endswith(f"Run: {UI}/runs/flow-run/{failed}")
        text = by_subject.pop("dialogsum: promote train-1a2b3c4d: Crashed")
        assert text.startswith("no heartbeat for 300 s\n")
        assert text.endswith(crashed)
        text = by_subject.pop("dialogsum: retrain jasmine-tiger is late")
        assert text.startswith(f"It was due at {datetime.now(UTC):%Y-%m-%d}")
        assert "`dialogsum station status`" in text
        assert text.endswith(late)
        assert by_subject == {}
        received = {(message["title"], message["message"]) for message in hook.messages}
        assert {(subject, text.replace("\r\n", "\n").strip()) for subject, text in mail.mails} == received
        cards = [card["attachments"][0]["content"]["body"] for card in teams.messages]
        texts = {tuple(block["text"] for block in card if block["type"] == "TextBlock") for card in cards}
        assert texts == received
        assert refused_deliveries(client, datetime.now(UTC)) == []


def test_a_refused_delivery_is_a_problem_until_one_succeeds(server: PrefectServer, client: SyncPrefectClient) -> None:
    """The line names service and reason and no credential, and the UI's event feed has the event."""
    with HttpReceiver() as hook, HttpReceiver() as other:
        provision(client, ["gpu"], [other.url, hook.url])
        hook.status = 500
        emit_promotion(server)
        until(lambda: refused_deliveries(client, datetime.now(UTC)), "the refused delivery", 120)
        (line,) = refused_deliveries(client, datetime.now(UTC))
        assert line.startswith("a message to JSON was not delivered at 20")
        assert "(Failed to send JSON POST notification: Internal server error., error=500.)" in line
        assert "pass-of-the-tests" not in line
        filter_ = {"filter": {"event": {"name": ["prefect.automation.action.failed"]}}}
        events = post(server, "/events/filter", filter_)["events"]
        assert "dialogsum: a model was promoted" in [event["resource"]["prefect.resource.name"] for event in events]
        assert "pass-of-the-tests" not in str(events)
        hook.status = 200
        emit_promotion(server)
        until(lambda: not refused_deliveries(client, datetime.now(UTC)), "the next delivery", 120)


def test_a_corrected_url_ends_the_problem_and_the_same_one_does_not(
    server: PrefectServer, client: SyncPrefectClient
) -> None:
    """The first URL leads to a port on which nothing listens."""
    with HttpReceiver() as closed:
        pass
    with HttpReceiver() as hook:
        provision(client, ["gpu"], [closed.url])
        emit_promotion(server)
        until(lambda: refused_deliveries(client, datetime.now(UTC)), "the refused delivery", 120)
        provision(client, ["gpu"], [closed.url])
        (line,) = refused_deliveries(client, datetime.now(UTC))
        assert "Connection error occurred" in line
        provision(client, ["gpu"], [hook.url])
        assert refused_deliveries(client, datetime.now(UTC)) == []


def test_a_block_that_the_server_cannot_load_is_a_problem_of_its_service(
    server: PrefectServer, client: SyncPrefectClient
) -> None:
    """Prefect's event about it does not name the block. The other service gets its message."""
    with HttpReceiver() as hook, MailReceiver() as mail:
        provision(client, ["gpu"], [hook.url, mail.url])
        (block,) = [each for each in client.read_block_documents() if each.name == "dialogsum-notify-2"]
        with PrefectHttpxSyncClient(base_url=server.url, timeout=60) as http:
            edited = {"data": {"notify_type": "loud"}, "merge_existing_data": True}
            http.patch(f"/block_documents/{block.id}", json=edited)  # raises if it is refused
        emit_promotion(server)
        until(lambda: refused_deliveries(client, datetime.now(UTC)), "the failed delivery", 120)
        (line,) = refused_deliveries(client, datetime.now(UTC))
        assert line.startswith("a message to E-Mail was not delivered at 20")
        assert "The notification block was invalid" in line
        until(lambda: hook.messages, "the other service's message", 120)


def test_none_ends_all_announcements_and_forgets_the_addresses(
    server: PrefectServer, client: SyncPrefectClient
) -> None:
    with HttpReceiver() as hook:
        assert provision(client, ["gpu"], [hook.url]) == ["JSON"]
        assert provision(client, ["gpu"], ["none"]) == []
    assert [each for each in client.read_block_documents() if "dialogsum" in (each.name or "")] == []
    texts = [a["description"] for a in post(server, "/automations/filter", {})]
    assert len([text for text in texts if "dialogsum station up --notify URL" in text]) == 4
    assert not any("pass-of-the-tests" in str(a) for a in post(server, "/automations/filter", {}))

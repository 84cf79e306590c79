"""Notes of what a tracker has: what waits is sent once, again after a change, and later if the tracker is down."""

import json
from pathlib import Path

import pytest

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from flows.integrations.outbox import note, send_waiting
from flows.integrations.tracked_runs import run_sources
from tests.support.recording_tracker import RecordingTracker


@pytest.fixture
def tracker() -> RecordingTracker:
    return RecordingTracker()


def notes(store: Store) -> dict[str, dict[str, object]]:
    """Run -> its note, as the file has it."""
    folder = Path(store.root.path) / "tracked" / "any"
    return {file.stem: json.loads(file.read_text()) for file in folder.iterdir()}


def scores_of(store: Store, variant: str | None) -> str:
    (scores,) = [m.id for m in store.manifests("score") if m.variant == variant]
    return scores


def promote(store: Store, adapter: str) -> None:
    manifest = store.by_id(adapter)
    base = manifest.identity["config"]["model"]["revision"]
    champion = Champion(adapter=adapter, template="{dialogue}", turns="chatml", generate={})
    assert Champions(store, base).promote(champion, scores_of(store, None), "test")


def test_what_is_noted_is_sent_once(tracked_store: Store, tracker: RecordingTracker) -> None:
    """Scores that the run of their adapter shows are no run of their own."""
    candidate, seed = [m.id for m in tracked_store.manifests("train")]
    note(tracked_store, "any", [candidate, scores_of(tracked_store, None), scores_of(tracked_store, "seed 1")])
    first, second = (send_waiting(tracked_store, "any", tracker) for _ in range(2))
    assert sorted(tracker.writes) == sorted([candidate, seed])
    assert (first.sent, first.waiting, second) == (2, 0, first)
    assert notes(tracked_store).keys() == {candidate, seed}


def test_only_runs_that_changed_are_sent_again(tracked_store: Store, tracker: RecordingTracker) -> None:
    """A promotion changes the new champion and the decision of its scores; the next one, both champions."""
    note(tracked_store, "any", run_sources(tracked_store))
    send_waiting(tracked_store, "any", tracker)
    candidate, seed = [m.id for m in tracked_store.manifests("train")]
    for adapter, sent in ((candidate, {candidate}), (seed, {candidate, seed})):
        tracker.writes.clear()
        promote(tracked_store, adapter)
        send_waiting(tracked_store, "any", tracker)
        assert set(tracker.writes) == sent
    assert [tracker.runs[adapter].tags["champion"] for adapter in (candidate, seed)] == ["no", "yes"]


def test_a_tracker_that_is_down_gets_everything_later(
    tracked_store: Store, tracker: RecordingTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The note has the reason, without credentials; the tracker is not asked for every run."""
    monkeypatch.setenv("ANY_API_KEY", "s3cret-key")
    note(tracked_store, "any", run_sources(tracked_store))
    tracker.error = "no answer from https://user:pw@example.test/a?write_token=other with s3cret-key"
    status = send_waiting(tracked_store, "any", tracker)
    assert (status.sent, status.waiting) == (0, 2)
    assert status.error == "ConnectionError: no answer from https://example.test/a?write_token=… with …"
    assert status.destination == "https://example.test/a"
    assert all(each == {"sent": {}, "error": status.error} for each in notes(tracked_store).values())
    tracker.error = ""
    status = send_waiting(tracked_store, "any", tracker)
    assert (status.sent, status.waiting, status.error) == (2, 0, "")
    assert all(each["error"] == "" for each in notes(tracked_store).values())


def test_another_destination_gets_everything_and_the_first_one_nothing_again(
    tracked_store: Store, tracker: RecordingTracker
) -> None:
    note(tracked_store, "any", run_sources(tracked_store))
    for place, writes in (("a", 2), ("b", 2), ("a", 0), ("b", 0)):
        tracker.place = place
        tracker.writes.clear()
        send_waiting(tracked_store, "any", tracker)
        assert len(tracker.writes) == writes


def test_a_damaged_artifact_keeps_no_other_run_from_being_sent(tracked_store: Store, tracker: RecordingTracker) -> None:
    candidate, seed = tracked_store.manifests("train")
    (Path(tracked_store.root.path) / candidate.path / "payload" / "curve.parquet").unlink()
    note(tracked_store, "any", [candidate.id, seed.id])
    status = send_waiting(tracked_store, "any", tracker)
    assert (tracker.writes, status.waiting) == ([seed.id], 1)
    assert status.error.startswith("FileNotFoundError: ")


def test_a_run_that_was_removed_from_the_store_is_not_sent(tracked_store: Store, tracker: RecordingTracker) -> None:
    """Its note stays: the tracker keeps the run."""
    note(tracked_store, "any", ["train-00000000"])
    assert send_waiting(tracked_store, "any", tracker).waiting == 0
    assert notes(tracked_store).keys() == {"train-00000000"}

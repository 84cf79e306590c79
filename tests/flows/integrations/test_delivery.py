"""The process that delivers to a tracker: it follows the spool, sends at its end, and ends with the run."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from flows.integrations import delivery
from flows.integrations.outbox import note
from tests.support.paths import ROOT
from tests.support.recording_tracker import RecordingTracker
from tests.support.servers import until


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(delivery, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(delivery.faulthandler, "dump_traceback_later", lambda *_, **__: None)
    (tmp_path / "spool.jsonl").touch()
    return tmp_path / "spool.jsonl"


def append(spool: Path, *lines: dict[str, Any]) -> None:
    with spool.open("a") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in lines)


def points(artifact: str, step: int, **values: float) -> dict[str, Any]:
    return {"points": {"artifact": artifact, "step": step, "values": values}}


def test_points_arrive_while_the_run_goes_on_and_the_rest_at_its_end(tracked_store: Store, spool: Path) -> None:
    """A line that is only half written is read when it is complete."""
    tracker, (candidate, _) = RecordingTracker(), tracked_store.manifests("train")
    arguments = ("any", tracker, spool, os.getppid())
    thread = threading.Thread(target=delivery.follow, args=arguments)
    thread.start()
    append(spool, points("train-1a2b3c4d", 1, train_loss=2.0), points("train-1a2b3c4d", 1, validation_loss=3.0))
    expected = {1: {"curve/train_loss": 2.0, "curve/validation_loss": 3.0}}
    until(lambda: tracker.live.get("train-1a2b3c4d") == expected, "the first points", 10)
    text = json.dumps({"finished": candidate.id})
    note(tracked_store, "any", [candidate.id])
    for half in (text[:7], text[7:] + "\n"):
        assert tracker.writes == []
        with spool.open("a") as file:
            file.write(half)
    until(lambda: tracker.writes == [candidate.id], "the finished adapter", 10)
    assert thread.is_alive()
    append(spool, {"end": True})
    thread.join(10)
    assert not thread.is_alive()
    assert tracker.ended == ["train-1a2b3c4d"]


def test_what_waits_is_sent_although_the_run_has_died(tracked_store: Store, spool: Path) -> None:
    """Killed, it writes no end; another process than its parent is taken for that."""
    tracker, (candidate, _) = RecordingTracker(), tracked_store.manifests("train")
    note(tracked_store, "any", [candidate.id])
    delivery.follow("any", tracker, spool, parent=1 if os.getppid() != 1 else 2)
    assert tracker.writes == [candidate.id]


def test_each_problem_is_a_warning_once(tracked_store: Store, spool: Path) -> None:
    """For the log of the run, until it has ended; then nothing is left of the files."""
    tracker, warnings = RecordingTracker(), spool.with_suffix(".warnings")
    tracker.error = "down"
    adapters = [m.id for m in tracked_store.manifests("train")]
    note(tracked_store, "any", adapters)
    thread = threading.Thread(target=delivery.follow, args=("any", tracker, spool, os.getppid()))
    thread.start()
    for step in (1, 2):
        append(spool, points("train-1a2b3c4d", step, train_loss=2.0), {"finished": adapters[0]})
        until(lambda: len(tracker.asked) >= 3 * step, "a second failure", 10)  # noqa: B023
    expected = [
        "any: the curve cannot be followed (ConnectionError: down)",
        "any: 2 runs wait for the next run or `dialogsum track` (ConnectionError: down)",
    ]
    until(lambda: warnings.read_text().splitlines() == expected, "the warnings", 10)
    append(spool, {"end": True})
    thread.join(10)
    assert [*spool.parent.glob("spool.*")] == []


HUNG = """
import sys, threading
from pathlib import Path
from flows.integrations import delivery
from tests.support.recording_tracker import RecordingTracker

class Hung(RecordingTracker):
    def write(self, run):
        threading.Event().wait()

delivery.LAST_SECONDS = 0.5
delivery.follow("any", Hung(), Path(sys.argv[1]), int(sys.argv[2]))
"""


def test_a_tracker_that_hangs_is_ended_after_the_run(tracked_store: Store, spool: Path) -> None:
    """By itself, although the library never returns; the run waits for the next time."""
    (candidate, *_) = tracked_store.manifests("train")
    note(tracked_store, "any", [candidate.id])
    append(spool, {"end": True})
    command = [sys.executable, "-c", HUNG, str(spool), str(os.getpid())]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, "Timeout" in ended.stderr) == (1, True)
    assert json.loads(tracked_store.side_files.read("tracked", "any", f"{candidate.id}.json") or b"")["sent"] == {}

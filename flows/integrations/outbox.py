"""What trackers have of the runs of a store: `<store>/tracked/<tracker>/<run>.json`, a note for each run."""

import os
import re
from collections.abc import Iterable

from filelock import FileLock
from pydantic import Field

from artifacts.artifact_store import Store
from artifacts.record import Record
from artifacts.text import one_line
from flows.integrations.tracked_runs import RunSource, run_sources, tracked_run
from flows.integrations.tracker import Tracker

FOLDER = "tracked"
MOST_FAILURES = 3
"""A tracker that did not take so many runs counts as down; the others wait."""


class Note(Record):
    """What a tracker has of a run. The run waits while the digest of its content is another one."""

    sent: dict[str, str] = Field(default_factory=dict)
    """Destination -> digest of what was sent there."""
    error: str = ""
    """Why the run could not be sent the last time."""


class TrackerStatus(Record):
    """The runs of a store that a tracker is to have."""

    tracker: str
    destination: str
    sent: int
    waiting: int
    error: str
    """Why the last one that waits could not be sent."""

    @property
    def problem(self) -> str:
        """What waits, and why."""
        runs = f"{self.waiting} run{'s wait' if self.waiting > 1 else ' waits'}"
        return f"{runs} for the next run or `dialogsum track` ({self.error or 'not tried yet'})"


def note(store: Store, tracker: str, artifacts: Iterable[str]) -> None:
    """Note that a tracker is to have the runs of these adapters and scores. Notes that exist stay as they are."""
    for artifact in artifacts:
        store.side_files.create(Note().model_dump_json().encode(), FOLDER, tracker, f"{artifact}.json")


def send_waiting(store: Store, name: str, tracker: Tracker) -> TrackerStatus:
    """Send the runs that wait. Errors of the tracker are noted, not raised."""
    destination = without_secrets(tracker.destination)
    with FileLock(store.scratch / f"tracking-{name}.lock"):
        sources = run_sources(store)
        notes = _notes(store, name, sources)
        failures = 0
        for run, known in notes.items():
            if known.sent.get(destination) == sources[run].digest or failures == MOST_FAILURES:
                continue
            try:
                tracker.write(tracked_run(store, sources[run]))
                notes[run] = Note(sent=known.sent | {destination: sources[run].digest})
            except Exception as error:
                failures += 1
                notes[run] = known.model_copy(update={"error": reason(error)})
            store.side_files.write(notes[run].model_dump_json().encode(), FOLDER, name, f"{run}.json")
    waiting = [known for run, known in notes.items() if known.sent.get(destination) != sources[run].digest]
    return TrackerStatus(
        tracker=name,
        destination=destination,
        sent=len(notes) - len(waiting),
        waiting=len(waiting),
        error=next((known.error for known in reversed(waiting) if known.error), ""),
    )


def _notes(store: Store, name: str, sources: dict[str, RunSource]) -> dict[str, Note]:
    """The notes of runs that are in the store, adapters first. Adds those of the adapters of noted evaluations."""
    files = store.side_files.read_all(FOLDER, name)
    found = {file.removesuffix(".json"): Note.model_validate_json(text) for file, text in files.items()}
    shown_in = {source.scores.id: run for run, source in sources.items() if source.scores}
    runs = {shown_in.get(artifact, artifact) for artifact in found}
    runs |= {sources[run].parent or run for run in runs & sources.keys()}
    note(store, name, runs - found.keys())
    for artifact in found.keys() - runs:  # scores that their adapter's run shows
        store.side_files.delete(FOLDER, name, f"{artifact}.json")
    return {run: found.get(run, Note()) for run in sources if run in runs}


def reason(error: Exception) -> str:
    """An error on one line, without secrets."""
    return one_line(without_secrets(f"{type(error).__name__}: {error}"), 200)


def without_secrets(text: str) -> str:
    """`text` without the credentials of addresses and without the values of variables such as WANDB_API_KEY."""
    for name, value in os.environ.items():
        if re.search("TOKEN|PASSWORD|SECRET|KEY", name) and len(value) > 5:
            text = text.replace(value, "…")
    return re.sub(r"(?i)(token|password|key)=[^&\s]+", r"\1=…", re.sub(r"//[^/@\s]*@", "//", text))

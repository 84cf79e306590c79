"""Which artifacts must be kept: champions, pins, and artifacts in use. All others may be garbage-collected.

<store>/runs/<run>.json  the artifacts a run uses, noted before the run looks for them
<store>/pins/<artifact>  kept until it is unpinned
"""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import ValidationError

from artifacts.artifact_store import Store
from artifacts.champions import Champions
from artifacts.errors import RequestError
from artifacts.manifest import Manifest
from artifacts.record import Record
from artifacts.text import one_line
from artifacts.timestamps import timestamp_ago, timestamp_now

UNFINISHED_RUN_AGE = timedelta(days=7)
"""How long a run that has not finished counts as active: it may have been killed, and be resumed."""


class RunNote(Record):
    """The artifacts that a run has used so far."""

    run: str
    at: str
    """UTC time of its last change, ISO 8601."""
    ended: bool
    artifacts: tuple[str, ...]


class RunNotes:
    """Keeps the note of one run in the store, so that no other process removes the artifacts it uses."""

    def __init__(self, store: Store, run: str) -> None:
        self.store, self.run, self.artifacts = store, run, list[str]()

    def add(self, *artifacts: str) -> None:
        """Note artifacts. Call it before looking for them in the store."""
        new = [artifact for artifact in dict.fromkeys(artifacts) if artifact not in self.artifacts]
        if new:
            self.artifacts += new
            self._write(ended=False)

    def finish(self) -> None:
        """The run has succeeded. The note of a failed run stays active for a while, since the run may be resumed."""
        self._write(ended=True)

    def _write(self, ended: bool) -> None:
        note = RunNote(run=self.run, at=timestamp_now(), ended=ended, artifacts=tuple(self.artifacts))
        self.store.side_files.write(note.model_dump_json(indent=1).encode(), "runs", f"{self.run}.json")


def pin(store: Store, artifact: str) -> None:
    """Keep an artifact and its lineage until it is unpinned. RequestError if there is no such artifact."""
    store.side_files.write(json.dumps({"at": timestamp_now()}).encode(), "pins", store.by_id(artifact).id)


def unpin(store: Store, artifact: str) -> None:
    """Let an artifact be garbage-collected again. RequestError if it is not pinned."""
    if artifact not in pins(store):
        known = ", ".join(pins(store)) or "none"
        raise RequestError(f"{one_line(artifact, 60)!r} is not pinned (pinned: {known})")
    store.side_files.delete("pins", artifact)


def pins(store: Store) -> list[str]:
    """Ids of the pinned artifacts."""
    return store.side_files.names("pins")


def run_notes(store: Store) -> list[RunNote]:
    """The notes of all runs. RequestError if one cannot be parsed, since its artifacts are then unknown."""
    notes = []
    for name, text in store.side_files.read_all("runs").items():
        try:
            notes.append(RunNote.model_validate_json(text))
        except ValidationError as error:
            raise RequestError(
                f"runs/{name} in {store.root} could not be parsed ({one_line(error, 80)}): remove it"
            ) from error
    return notes


def is_active(note: RunNote, moment: datetime) -> bool:
    """Whether a run may still be working or be resumed."""
    return not note.ended and note.at >= timestamp_ago(moment, UNFINISHED_RUN_AGE)


def pinned_or_in_use(store: Store, since: str, moment: datetime) -> dict[str, str]:
    """Artifact -> why it is kept: pinned, used by an active run, or by a run since a time. May change at any moment."""
    reasons: dict[str, str] = {}
    for note in run_notes(store):
        active = is_active(note, moment)
        if active or note.at >= since:
            reasons |= dict.fromkeys(
                note.artifacts, "in use by a run" if active else f"used by a run on {note.at[:10]}"
            )
    return reasons | dict.fromkeys(pins(store), "pinned")


def champion_artifacts(store: Store, most: int | None = None) -> dict[str, str]:
    """Artifact -> why it is kept: champions, those a rollback would restore, and the scores that promoted them.

    most: of each base model, only the champion and so many less one before it. None: all of them.
    """
    reasons: dict[str, str] = {}
    for base in store.side_files.names("champions"):
        stack = Champions(store, base).stack
        for champion, scores in reversed(stack if most is None else stack[-most:]):
            reasons |= {champion.adapter: "champion"} | ({scores: "scores of a champion"} if scores else {})
    return reasons


def newest_reports(store: Store, count: int) -> dict[str, str]:
    """Artifact -> why it is kept: the newest reports. Each run ends with one that all its artifacts lead to."""
    reports = store.manifests("report")[-count:] if count else []
    return {m.id: f"one of the newest {count} reports" for m in reports}


def with_lineage(reasons: dict[str, str], manifests: Iterable[Manifest]) -> dict[str, str]:
    """`reasons`, and those of all artifacts that these were made from, directly or not."""
    inputs = {m.id: [ref.id for ref in m.inputs.values()] for m in manifests}
    reasons, todo = dict(reasons), list(reasons)
    while todo:
        artifact = todo.pop()
        for name in inputs.get(artifact, ()):
            if name not in reasons:
                reasons[name] = f"{artifact} was made from it"
                todo.append(name)
    return reasons


def lineage(store: Store, artifacts: Iterable[Manifest]) -> dict[str, Manifest]:
    """Id -> manifest of artifacts and of all that they were made from, as far as the store has them."""
    manifests = {m.id: m for m in artifacts}
    missing = {ref.id for m in manifests.values() for ref in m.inputs.values()} - manifests.keys()
    while missing:
        stages = {artifact.rsplit("-", 1)[0] for artifact in missing}
        parents = {m.id: m for stage in stages for m in store.manifests(stage, missing)}
        manifests |= parents
        missing = {ref.id for m in parents.values() for ref in m.inputs.values()} - manifests.keys()
    return manifests

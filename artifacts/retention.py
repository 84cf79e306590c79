"""Who needs which artifacts: champions, pins and runs. What nobody needs may be removed (artifacts/garbage_collection.py).

<store>/runs/<run>.json  what a run uses, noted before it relies on finding the artifact there
<store>/pins/<artifact>  kept until it is unpinned
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from artifacts.artifact_store import Store, now
from artifacts.champions import Champions
from artifacts.errors import RequestError, one_line
from artifacts.manifest import Manifest, Record

UNFINISHED = timedelta(days=7)
"""How long a run counts as going on that has not said that it ended: it may have died, and be taken up again."""


class RunNote(Record):
    """What a run has used so far."""

    run: str
    at: str
    """UTC time of its last change, ISO 8601."""
    ended: bool
    artifacts: tuple[str, ...]


class Uses:
    """The artifacts that one run uses, noted in the store so that nobody removes them from under it."""

    def __init__(self, run: str) -> None:
        self.run, self.artifacts = run, list[str]()

    def hold(self, *artifacts: str) -> None:
        """Note artifacts; to be called before looking whether they are there."""
        new = [artifact for artifact in dict.fromkeys(artifacts) if artifact not in self.artifacts]
        if new:
            self.artifacts += new
            self._write(ended=False)

    def end(self) -> None:
        """The run is over and well; one that failed keeps its hold for a while, since it may be given again."""
        self._write(ended=True)

    def _write(self, ended: bool) -> None:
        note = RunNote(run=self.run, at=now(), ended=ended, artifacts=tuple(self.artifacts))
        Store.current().write(note.model_dump_json(indent=1).encode(), "runs", f"{self.run}.json")


def pin(artifact: str) -> None:
    """Keep an artifact, and all it was made from, until it is unpinned. RequestError if there is no such artifact."""
    found = Store.current().by_id(artifact)
    Store.current().write(json.dumps({"at": now()}).encode(), "pins", found.id)


def unpin(artifact: str) -> None:
    """RequestError if it is not pinned."""
    if artifact not in pins():
        known = ", ".join(pins()) or "none"
        raise RequestError(f"{one_line(artifact, 60)!r} is not pinned (pinned: {known})")
    Store.current().delete("pins", artifact)


def pins() -> list[str]:
    """What is pinned."""
    return Store.current().names("pins")


def run_notes() -> list[RunNote]:
    """What all runs have noted. RequestError if a note does not read: nobody knows what it holds."""
    found = []
    for name, text in Store.current().read_all("runs").items():
        try:
            found.append(RunNote.model_validate_json(text))
        except ValidationError as error:
            raise RequestError(
                f"runs/{name} in {Store.current().root} does not read ({one_line(error, 80)}): remove it"
            ) from error
    return found


def going_on(note: RunNote, moment: datetime) -> bool:
    """Whether a run may still be at work or be taken up again."""
    return not note.ended and note.at >= before(moment, UNFINISHED)


def held(since: str, moment: datetime) -> dict[str, str]:
    """Artifact -> why it is held, by pins, by runs that go on, and by those since a time; what may change any moment."""
    found: dict[str, str] = {}
    for note in run_notes():
        if going_on(note, moment) or note.at >= since:
            why = "in use by a run" if going_on(note, moment) else f"used by a run on {note.at[:10]}"
            found |= dict.fromkeys(note.artifacts, why)
    return found | dict.fromkeys(pins(), "pinned")


def championed() -> dict[str, str]:
    """Adapters in force, those that a rollback would bring back, and the scores all of them were judged by."""
    found: dict[str, str] = {}
    for base in Store.current().names("champions"):
        for champion, scores in reversed(Champions(base).stack):
            found |= {champion.adapter: "champion"} | ({scores: "scores of a champion"} if scores else {})
    return found


def with_lineage(needed: dict[str, str], manifests: Iterable[Manifest]) -> dict[str, str]:
    """What is needed, and all that it was made from, however far back."""
    inputs = {m.id: [ref.id for ref in m.inputs.values()] for m in manifests}
    found, todo = dict(needed), list(needed)
    while todo:
        artifact = todo.pop()
        for name in inputs.get(artifact, ()):
            if name not in found:
                found[name] = f"{artifact} was made from it"
                todo.append(name)
    return found


def lineage(artifacts: Iterable[Manifest]) -> dict[str, Manifest]:
    """By id: artifacts, and all they were made from, however far back, as far as the store has it."""
    found = {m.id: m for m in artifacts}
    missing = {ref.id for m in found.values() for ref in m.inputs.values()} - found.keys()
    while missing:
        stages = {artifact.rsplit("-", 1)[0] for artifact in missing}
        read = {m.id: m for stage in stages for m in Store.current().manifests(stage, missing)}
        found |= read
        missing = {ref.id for m in read.values() for ref in m.inputs.values()} - found.keys()
    return found


def before(moment: datetime, ago: timedelta) -> str:
    """A time, as the store writes times."""
    return (moment - ago).astimezone(UTC).isoformat(timespec="microseconds")

"""Finds and removes unreferenced artifacts and leftovers of runs that died.

Champions, pins, everything that runs used or made within some days, the newest reports, and the lineage of all these
are kept. An artifact
loses its manifest first, so that a half-removed artifact counts as none, and artifacts are removed before those they
were made from. A run notes the artifacts it will use before it looks for them; here the notes are read again after the
manifest is deleted. So either the run does not find the artifact and makes it again, or its note is read and the
manifest is restored.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from filelock import FileLock, Timeout
from pydantic import Field

from artifacts.artifact_path import artifact_id
from artifacts.artifact_store import Store
from artifacts.manifest import Manifest
from artifacts.record import Record
from artifacts.retention import (
    champion_artifacts,
    is_active,
    newest_reports,
    pinned_or_in_use,
    run_notes,
    with_lineage,
)
from artifacts.timestamps import timestamp_ago

MIN_LEFTOVER_AGE = timedelta(days=1)
"""Younger unfinished files are never removed: a process may still be writing them."""
CACHES = ("blobs", "fetched", "seen")
"""Folders in scratch with copies of remote payloads (artifacts/remote_backend.py)."""


Days = Annotated[float, Field(ge=0, le=36500)]
Reports = Annotated[int, Field(ge=0)]
KeptChampions = Annotated[int, Field(ge=2)]


class GcPolicy(Record):
    """What is kept besides pinned artifacts, those of active runs, and the lineage of everything that is kept."""

    days: Days = 30
    """Artifacts that were made or used in so many days."""
    reports: Reports = 0
    """Number of the newest reports that are kept, however old."""
    champions: KeptChampions | None = None
    """Number of champions of each base model, the current one included: a rollback restores the one before it. None
    keeps all that rollbacks can restore."""


class Garbage(Record):
    """Something that can be removed."""

    kind: Literal["artifact", "half-made artifact", "parts", "lease", "scratch", "run note"]
    what: str
    """Artifact id, or a name in scratch, among the parts, the leases or the notes."""
    path: str
    """Folder in the store, or in scratch."""
    bytes: int
    at: str
    """When it was made or last changed: UTC time, ISO 8601."""


class GcReport(Record):
    """What can be removed, and what is kept and why."""

    items: tuple[Garbage, ...]
    kept: dict[str, str]
    """Artifact -> why it is kept."""
    kept_bytes: int


def find_garbage(store: Store, policy: GcPolicy, moment: datetime | None = None) -> GcReport:
    """List what the policy does not keep: reads the store, changes nothing."""
    moment, days = moment or datetime.now(UTC), policy.days
    since = timestamp_ago(moment, timedelta(days=days))
    manifests = store.manifests()
    young = {m.id: f"made on {m.provenance.at[:10]}" for m in manifests if m.provenance.at >= since}
    kept = young | newest_reports(store, policy.reports) | pinned_or_in_use(store, since, moment)
    reasons = with_lineage(kept | champion_artifacts(store, policy.champions), manifests)
    old = [m for m in reversed(manifests) if m.id not in reasons]
    items = [Garbage(kind="artifact", what=m.id, path=m.path, bytes=size(m), at=m.provenance.at) for m in old]
    limit = timestamp_ago(moment, max(timedelta(days=days), MIN_LEFTOVER_AGE))
    complete = {m.path for m in manifests}
    leftovers = [*_half_made(store, complete, set(reasons)), *_parts(store), *_leases(store), *_scratch(store)]
    items += [item for item in leftovers if item.at < limit]
    items += [
        Garbage(kind="run note", what=note.run, path=f"runs/{note.run}.json", bytes=0, at=note.at)
        for note in run_notes(store)
        if note.at < since and not is_active(note, moment)
    ]
    sizes = {m.id: size(m) for m in manifests}
    existing = {name: why for name, why in reasons.items() if name in sizes}
    return GcReport(items=tuple(items), kept=existing, kept_bytes=sum(sizes[name] for name in existing))


def remove(store: Store, garbage: Iterable[Garbage], days: float, moment: datetime | None = None) -> list[Garbage]:
    """Remove what `find_garbage` listed, except artifacts that have come into use since. Returns what was removed."""
    moment = moment or datetime.now(UTC)
    since, records = timestamp_ago(moment, timedelta(days=days)), store.side_files.names("results")

    def removed(item: Garbage) -> bool:
        if item.kind == "run note":
            store.side_files.delete("runs", f"{item.what}.json")
        elif item.kind == "parts":
            store.side_files.remove_folder("parts", item.what)
        elif item.kind == "lease":
            store.side_files.delete("leases", item.what)
        elif item.kind == "scratch":
            return _clear(store.scratch / item.path, locked=item.path.split("/")[0] not in CACHES)
        elif not _removed_artifact(store, item, since, moment):
            return False
        else:
            store.side_files.delete("jobs", f"{item.what}.json")
            for name in records:
                if name.startswith(item.what):  # Prefect's record of the artifact: <stage>-<key>
                    store.side_files.delete("results", name)
        return True

    return [item for item in garbage if removed(item)]


def size(manifest: Manifest) -> int:
    """Bytes of an artifact's payload."""
    return sum(file.bytes for file in manifest.files.values())


def _removed_artifact(store: Store, item: Garbage, since: str, moment: datetime) -> bool:
    """Remove an artifact. False if it has come into use."""
    manifest = f"{item.path}/manifest.json"
    text = store.backend.read(manifest)
    store.backend.delete(manifest)
    if item.what in pinned_or_in_use(store, since, moment):
        if text is not None:
            store.backend.write(manifest, text)
        return False
    store.backend.remove(item.path)
    return True


def _half_made(store: Store, complete: set[str], needed: set[str]) -> Iterator[Garbage]:
    """Artifact folders without a readable manifest."""
    for folder in store.folders():
        if folder in complete or artifact_id(folder) in needed:
            continue
        stage, name = folder.split("/")
        entries = [store.backend.entries(stage)[name], *store.backend.files(folder).values()]
        changed = max(entry.changed for entry in entries)
        if changed:  # zero for an empty folder of an object store, which does not exist as such
            total = sum(max(entry.size, 0) for entry in entries[1:])
            name = artifact_id(folder)
            yield Garbage(kind="half-made artifact", what=name, path=folder, bytes=total, at=_timestamp(changed))


def _parts(store: Store) -> Iterator[Garbage]:
    """Parts that several machines made of an artifact that was never finished."""
    for name in store.side_files.names("parts"):
        if files := store.backend.files(f"parts/{name}").values():
            changed = _timestamp(max(file.changed for file in files))
            total = sum(file.size for file in files)
            yield Garbage(kind="parts", what=name, path=f"parts/{name}", bytes=total, at=changed)


def _leases(store: Store) -> Iterator[Garbage]:
    """Leases on stages. Those in force change every few seconds (tasks/execution/stage_lease.py)."""
    for name, file in store.backend.files("leases").items():
        at = _timestamp(file.changed)
        yield Garbage(kind="lease", what=name, path=f"leases/{name}", bytes=max(file.size, 0), at=at)


def _scratch(store: Store) -> Iterator[Garbage]:
    """Leftovers of dead runs on this machine, and copies of remote payloads."""
    if not store.scratch.is_dir():
        return
    for entry in store.scratch.iterdir():
        for unit in entry.iterdir() if entry.name in CACHES else (entry,):
            if unit.suffix == ".lock":
                continue
            stats = [file.lstat() for file in (unit, *(unit.rglob("*") if unit.is_dir() else ()))]
            used = sum(s.st_size for s in stats if s.st_nlink == 1) if unit.is_dir() else stats[0].st_size
            path, changed = str(unit.relative_to(store.scratch)), _timestamp(max(s.st_mtime for s in stats))
            yield Garbage(kind="scratch", what=path, path=path, bytes=used, at=changed)


def _clear(unit: Path, locked: bool) -> bool:
    """Remove something in scratch. With `locked`, not while a process holds its lock (Store.lock)."""
    try:
        with FileLock(str(unit.with_suffix(".lock")), timeout=0) if locked else nullcontext():
            if unit.is_dir():
                shutil.rmtree(unit, ignore_errors=True)
            else:
                unit.unlink(missing_ok=True)
    except Timeout:
        return False
    return not unit.exists()


def _timestamp(seconds: float) -> str:
    return timestamp_ago(datetime.fromtimestamp(seconds, UTC), timedelta(0))

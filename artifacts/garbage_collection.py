"""Housekeeping: what nobody needs any more, and its removal.

Kept are champions, pins, what runs used or made within some days, and all that these were made from. An artifact loses its
manifest first, so that a half-removed one is none, and those made from others go before these. A run notes what it will
use before it looks whether that is there; here the look at the notes comes after the manifest is gone. So either the run
finds no artifact and makes it again, or its note is seen and the manifest put back.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from artifacts.artifact_store import Store, id_of
from artifacts.manifest import Manifest, Record
from artifacts.retention import before, championed, going_on, held, run_notes, with_lineage

GUARD = timedelta(days=1)
"""Nothing half-made is taken for abandoned before: somebody may be writing it."""
CACHES = ("blobs", "fetched", "seen")


class Item(Record):
    """Something that can go."""

    kind: Literal["artifact", "half-made artifact", "parts", "scratch", "run note"]
    what: str
    """Artifact id, or a name in the scratch folder, among the parts or the notes."""
    path: str
    """Folder in the store, or in scratch."""
    bytes: int
    at: str
    """When it was made, or last written to: UTC time, ISO 8601."""


class Sweep(Record):
    """What can go, and what stays and why."""

    items: tuple[Item, ...]
    kept: dict[str, str]
    """Artifact -> who needs it."""
    kept_bytes: int


def survey(days: float, moment: datetime | None = None) -> Sweep:
    """What nobody needs: reads the store, changes nothing."""
    moment = moment or datetime.now(UTC)
    store, since = Store.current(), before(moment, timedelta(days=days))
    manifests = store.manifests()
    young = {m.id: f"made on {m.made.at[:10]}" for m in manifests if m.made.at >= since}
    kept = with_lineage(young | held(since, moment) | championed(), manifests)
    old = [m for m in reversed(manifests) if m.id not in kept]
    items = [Item(kind="artifact", what=m.id, path=m.path, bytes=size(m), at=m.made.at) for m in old]
    limit = before(moment, max(timedelta(days=days), GUARD))
    rest = [*_half_made(store, {m.path for m in manifests}, set(kept)), *_parts(store), *_scratch(store)]
    items += [item for item in rest if item.at < limit]
    items += [
        Item(kind="run note", what=note.run, path=f"runs/{note.run}.json", bytes=0, at=note.at)
        for note in run_notes()
        if note.at < since and not going_on(note, moment)
    ]
    there = {m.id: size(m) for m in manifests}
    return Sweep(
        items=tuple(items), kept={name: why for name, why in kept.items() if name in there},
        kept_bytes=sum(there[name] for name in kept if name in there),
    )  # fmt: skip


def remove(items: Iterable[Item], days: float, moment: datetime | None = None) -> list[Item]:
    """Remove what was surveyed, unless somebody has begun to need it meanwhile; returns what is gone."""
    moment, store = moment or datetime.now(UTC), Store.current()
    since, records = before(moment, timedelta(days=days)), store.names("results")

    def gone(item: Item) -> bool:
        if item.kind == "run note":
            store.delete("runs", f"{item.what}.json")
        elif item.kind == "parts":
            store.remove("parts", item.what)
        elif item.kind == "scratch":
            return _clear(store.scratch / item.path, locked=item.path.split("/")[0] not in CACHES)
        elif not _withdrawn(store, item, since, moment):
            return False
        else:
            store.delete("jobs", f"{item.what}.json")
            for name in records:
                if name.startswith(item.what):  # Prefect's record of the artifact: <stage>-<key>
                    store.delete("results", name)
        return True

    return [item for item in items if gone(item)]


def size(manifest: Manifest) -> int:
    """Bytes of an artifact's payload."""
    return sum(seal.bytes for seal in manifest.files.values())


def _withdrawn(store: Store, item: Item, since: str, moment: datetime) -> bool:
    """Remove an artifact; False if somebody has begun to need it."""
    place, manifest = store.place, f"{item.path}/manifest.json"
    text = place.read(manifest)
    place.delete(manifest)
    if item.what in held(since, moment):
        if text is not None:
            place.write(manifest, text)
        return False
    place.remove(item.path)
    return True


def _half_made(store: Store, whole: set[str], kept: set[str]) -> Iterator[Item]:
    """Folders whose manifest is not there or does not read."""
    for relative in store.folders():
        if relative in whole or id_of(relative) in kept:
            continue
        stage, name = relative.split("/")
        entries = [store.place.entries(stage)[name], *store.place.files(relative).values()]
        if changed := max(
            entry.changed for entry in entries
        ):  # an object store's empty folder has no time, nor is it one
            total = sum(max(entry.size, 0) for entry in entries[1:])
            yield Item(
                kind="half-made artifact", what=id_of(relative), path=relative, bytes=total, at=_time(changed)
            )  # fmt: skip


def _parts(store: Store) -> Iterator[Item]:
    """Parts that several machines made of an artifact that was never joined."""
    for name in store.names("parts"):
        if files := store.place.files(f"parts/{name}").values():
            yield Item(
                kind="parts", what=name, path=f"parts/{name}", bytes=sum(file.size for file in files),
                at=_time(max(file.changed for file in files)),
            )  # fmt: skip


def _scratch(store: Store) -> Iterator[Item]:
    """What runs that died have left on this machine, and copies of remote payloads."""
    if not store.scratch.is_dir():
        return
    for entry in store.scratch.iterdir():
        for unit in entry.iterdir() if entry.name in CACHES else (entry,):
            if unit.suffix == ".lock":
                continue
            stats = [file.lstat() for file in (unit, *(unit.rglob("*") if unit.is_dir() else ()))]
            used = sum(s.st_size for s in stats if s.st_nlink == 1) if unit.is_dir() else stats[0].st_size
            path = str(unit.relative_to(store.scratch))
            yield Item(kind="scratch", what=path, path=path, bytes=used, at=_time(max(s.st_mtime for s in stats)))


def _clear(unit: Path, locked: bool) -> bool:
    """Remove something in scratch; with `locked`, unless a process is at work in it (artifacts.artifact_store.Store.alone)."""
    try:
        with FileLock(str(unit.with_suffix(".lock")), timeout=0) if locked else nullcontext():
            if unit.is_dir():
                shutil.rmtree(unit, ignore_errors=True)
            else:
                unit.unlink(missing_ok=True)
    except Timeout:
        return False
    return not unit.exists()


def _time(seconds: float) -> str:
    return before(datetime.fromtimestamp(seconds, UTC), timedelta(0))

"""The artifact store: the only code that decides where a payload is kept and whether it is intact.

    <store>/3_train/<name>_<key8>/payload/…      the files that the stage wrote
    <store>/3_train/<name>_<key8>/manifest.json  written last; its presence means that the payload is complete
    <store>/results/<key>                        Prefect's result records, JSON
    <store>/champions/<base model>/<number>.json the champion log: one file per change, never rewritten
    <store>/runs/<run>.json, pins/<artifact>     artifacts that must be kept (artifacts/retention.py)
    <store>/jobs/<artifact id>.json              everything needed to make an artifact again (tasks/execution/job.py)
    <store>/parts/<stage>-<key>/…                parts made by several machines (tasks/execution/sharding.py)
    <store>/leases/<stage>-<key>-<number>.json   who makes an artifact (tasks/execution/stage_lease.py)
    <store>/sweeps/<sweep>/<number>.json         the trials of a sweep (flows/sweeps/trials.py)
    <store>/tracked/<tracker>/<artifact>.json    what a tracker has of a run (flows/integrations/outbox.py)

The root is DIALOGSUM_STORE: a path, or a URI that fsspec knows (`s3://…`). No file in the store contains the root, so
a store can be moved. Scratch (unfinished payloads, locks) lies inside a local store and beside a remote one.
"""

import contextlib
import json
import os
import uuid
from collections.abc import Container, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError
from upath import UPath

from artifacts.artifact_path import (
    STAGE_NUMBERS,
    artifact_folder,
    artifact_id,
    checked_folder,
    is_artifact_folder,
    is_file_name,
    split_id,
    stage_folder,
)
from artifacts.atomic_files import sha256_of
from artifacts.backend import StorageBackend
from artifacts.cache_key import Identity
from artifacts.errors import RequestError, StageError, translate_disk_errors
from artifacts.local_backend import LocalBackend
from artifacts.manifest import (
    MANIFEST_FORMAT,
    FileDigest,
    InputRef,
    Manifest,
    Provenance,
    checksum_of,
    content_digest,
)
from artifacts.remote_backend import RemoteBackend
from artifacts.s3_checksums import open_without_checksums
from artifacts.side_files import SideFiles
from artifacts.text import did_you_mean, one_line
from artifacts.timestamps import after, timestamp_now
from artifacts.user_paths import project_folder, user_path

CLOCK_SKEW = timedelta(days=1)
"""By how much the clocks of machines that share a store may differ."""


class DamageError(ValueError):
    """An artifact exists but is not intact; the message names the file and the damage."""


class Store:
    """An artifact store under `root`, local or remote."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        if "@" in str(root).split("://")[-1].split("/")[0] and "://" in str(root):
            raise RequestError(
                "DIALOGSUM_STORE: credentials do not belong in it; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        try:
            self.root = UPath(root)
            self.is_local = self.root.protocol in ("", "file", "local")
            if not self.is_local:  # a cached listing would hide artifacts that another machine has published since
                if self.root.protocol == "s3":
                    self.root = open_without_checksums(str(root))
                else:
                    self.root = UPath(root, use_listings_cache=False)
                self.backend: StorageBackend = RemoteBackend(self.root)
        except Exception as error:  # unknown scheme, or a known one without its package
            raise RequestError(
                f"DIALOGSUM_STORE: {one_line(root, 80)!r} is neither a path nor a known URI ({one_line(error, 100)})"
            ) from error
        if self.is_local:
            self.root = UPath(user_path(self.root.path, "DIALOGSUM_STORE").resolve())
            self.backend = LocalBackend(Path(self.root.path))
        self.side_files = SideFiles(self.backend)

    @classmethod
    def current(cls) -> "Store":
        """The store that DIALOGSUM_STORE names; one object per root, so that bytes are hashed once per process."""
        root = os.environ.get("DIALOGSUM_STORE") or str(project_folder() / "artifacts" / "store")
        if root not in _OPEN_STORES:
            _OPEN_STORES[root] = cls(root)
        return _OPEN_STORES[root]

    @property
    def scratch(self) -> Path:
        """Local folder for unfinished work and locks."""
        return self.backend.scratch

    def absolute(self, folder: str) -> str:
        """The path or URI of an artifact's folder, as messages show it."""
        return f"{self.backend.name}/{checked_folder(folder)}"

    # -- reading

    def manifest(self, folder: str) -> Manifest | None:
        """The manifest in a folder, or None if there is none. DamageError if it cannot be parsed or was altered."""
        try:
            text = self.backend.read(f"{checked_folder(folder)}/manifest.json")
        except IsADirectoryError:
            raise DamageError("manifest.json is a folder") from None
        return None if text is None else self._parse_manifest(folder, text)

    def _parse_manifest(self, folder: str, text: bytes) -> Manifest:
        try:
            content = json.loads(text)
            intact = content["seal"] == checksum_of(content)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamageError(f"manifest.json could not be parsed: {one_line(error, 120)}") from error
        if not intact:
            raise DamageError("manifest.json was altered: its checksum does not match")
        if content.get("format") != MANIFEST_FORMAT:
            raise RequestError(
                f"{self.absolute(folder)} was written by another version of this project (format "
                f"{content.get('format')}, this is {MANIFEST_FORMAT}): use that version, or another DIALOGSUM_STORE"
            )
        try:
            manifest = Manifest.model_validate(content)
        except ValidationError as error:
            raise DamageError(f"manifest.json could not be parsed: {one_line(error, 120)}") from error
        if manifest.path != folder:
            raise DamageError(f"manifest.json belongs to {manifest.path}")
        if not all(is_file_name(name) for name in manifest.files):
            raise DamageError("manifest.json names a file outside its payload")
        if manifest.digest != content_digest(manifest.files, manifest.inputs):
            raise DamageError("manifest.json has a digest that does not match its files")
        return manifest

    def verified(self, folder: str) -> Manifest:
        """The manifest of an intact artifact: every payload byte is checked. DamageError names the damage."""
        manifest = self.manifest(folder)
        if manifest is None:
            raise DamageError(f"there is no artifact at {folder}")
        self.check_payload(manifest)
        return manifest

    def check_payload(self, manifest: Manifest) -> None:
        """Compare every payload byte with the manifest. DamageError names the damage."""
        payload = f"{manifest.path}/payload"
        entries = self.backend.entries(payload)
        for name, expected in manifest.files.items():
            if name not in entries:
                raise DamageError(f"payload file {name} is missing")
            if entries[name].size != expected.bytes:
                raise DamageError(f"payload file {name} has {entries[name].size} bytes, not {expected.bytes}")
            if self.backend.sha256(f"{payload}/{name}", entries[name]) != expected.sha256:
                raise DamageError(f"payload file {name} was altered: its sha256 differs")
        if extra := set(entries) - set(manifest.files):
            raise DamageError(f"the payload contains a file that the stage did not write: {sorted(extra)[0]}")

    def payload(self, folder: str) -> Path:
        """A local folder with the verified payload; a remote payload is copied to scratch first."""
        return self.payload_of(self.verified(folder))

    def payload_of(self, manifest: Manifest) -> Path:
        """The same, of a manifest that was verified."""
        return self.backend.fetch(manifest.path, manifest.digest, manifest.files)

    def folders(self, stage: str | None = None) -> list[str]:
        """Relative folders of all artifacts, or of those of one stage, complete or not."""
        stages = [stage_folder(name) for name in STAGE_NUMBERS if stage in (None, name)]
        folders = [f"{parent}/{entry}" for parent in stages for entry in self.backend.entries(parent)]
        return sorted(folder for folder in folders if is_artifact_folder(folder))

    def latest(self, stage: str, count: int) -> list[Manifest]:
        """At least the `count` artifacts of a stage that changed last, oldest first."""
        times = self._change_times(stage)
        since = sorted(times.values(), reverse=True)[:count]
        return self.manifests(stage, {artifact for artifact, changed in times.items() if changed >= since[-1]})

    def _change_times(self, stage: str) -> dict[str, float]:
        """Artifact id -> when its folder last changed, seconds since 1970."""
        parent = stage_folder(stage)
        entries = self.backend.entries(parent)
        if not all(entry.changed for entry in entries.values()):  # object stores keep times of files only
            entries = self.backend.files(parent)
        times: dict[str, float] = {}
        for path, entry in entries.items():
            artifact = artifact_id(f"{parent}/{path.split('/')[0]}")
            times[artifact] = max(entry.changed, times.get(artifact, 0.0))
        return times

    def manifests(self, stage: str | None = None, ids: Container[str] | None = None) -> list[Manifest]:
        """All artifacts, or those in `ids`, with a readable manifest, oldest first; payloads are not checked."""
        folders = [folder for folder in self.folders(stage) if ids is None or artifact_id(folder) in ids]
        texts = self.backend.read_all(f"{folder}/manifest.json" for folder in folders)
        manifests = []
        for path, text in texts.items():
            with contextlib.suppress(DamageError):
                manifests.append(self._parse_manifest(path.removesuffix("/manifest.json"), text))
        return sorted(manifests, key=lambda m: (m.provenance.at, m.id))

    def next_timestamp(self, stage: str) -> str:
        """UTC now or, if the clock was set back, a time just after the newest artifact, so that the next sorts last.

        Reads only manifests that changed within CLOCK_SKEW or, by this clock, in the future: all others are older.
        """
        now = timestamp_now()
        since = datetime.fromisoformat(now).timestamp() - CLOCK_SKEW.total_seconds()
        recent = {artifact for artifact, changed in self._change_times(stage).items() if changed >= since}
        # RequestError: another version wrote one of them, which is no reason to lose the finished work
        with contextlib.suppress(RequestError):
            if recent and (manifests := self.manifests(stage, recent)):
                return max(now, after(manifests[-1].provenance.at))
        return now

    def by_id(self, artifact: str) -> Manifest:
        """The manifest of an artifact id such as `train-1a2b3c4d`. RequestError for any other text."""
        stage, key8 = split_id(artifact)
        folders = self.folders(stage)
        for folder in folders:
            if folder.endswith(f"_{key8}"):
                try:
                    manifest = self.manifest(folder)
                except DamageError as error:
                    raise RequestError(f"{artifact} is damaged: {error}; rerun its stage") from error
                if manifest is not None:
                    return manifest
        known = [artifact_id(folder) for folder in folders]
        hint = did_you_mean(artifact, known) if known else ""
        raise RequestError(f"there is no artifact {artifact} in {self.root}{hint}")

    # -- writing

    def check_writable(self) -> None:
        """Write, read and delete a probe file. RequestError if any of these fails."""
        probe = f".probe-{uuid.uuid4().hex}"
        try:
            self.backend.prepare()
            self.backend.write(probe, b"dialogsum")
            unchanged = self.backend.read(probe) == b"dialogsum"
            self.backend.delete(probe)
            self.scratch.mkdir(parents=True, exist_ok=True)
        except (RequestError, StageError) as error:
            raise RequestError(str(error)) from error
        except OSError as error:
            raise RequestError(
                f"the store {self.root} cannot be written ({one_line(error, 160)}): fix its permissions, or point "
                "DIALOGSUM_STORE to another store"
            ) from error
        if not unchanged:
            raise RequestError(
                f"the store {self.root} does not return the bytes that were written to it: "
                "point DIALOGSUM_STORE to another store"
            )

    @contextlib.contextmanager
    def lock(self, stage: str, key: str) -> Iterator[Path]:
        """Wait until no other process on this host works on this key, and yield its scratch folder.

        The folder is kept from run to run. The kernel releases the lock when its holder dies.
        """
        folder = self.scratch / f"{stage}-{key}"
        with translate_disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(str(folder.with_suffix(".lock"))):
                folder.mkdir(parents=True, exist_ok=True)  # the previous holder may have removed it
                yield folder

    def is_busy(self, stage: str, key: str) -> bool:
        """Whether a process on this host works on this key."""
        lock = (self.scratch / f"{stage}-{key}").with_suffix(".lock")
        try:
            if lock.exists():
                FileLock(str(lock), timeout=0).acquire().lock.release()
        except Timeout:
            return True
        return False

    def publish(
        self,
        out: Path,
        *,
        stage: str,
        variant: str | None,
        name: str,
        key: str,
        rows: int,
        identity: Identity,
        inputs: dict[str, InputRef],
        facts: dict[str, Any],
        provenance: Provenance,
    ) -> Manifest:
        """Hash the files in `out` and move them into the store, the manifest last."""
        files = {}
        for file in sorted(out.iterdir()):
            if not file.is_file() or file.is_symlink() or not is_file_name(file.name):
                raise StageError(f"{stage} left {file.name!r} in its output; expected plain files only")
            files[file.name] = FileDigest(bytes=file.stat().st_size, sha256=sha256_of(file))
        if not files:
            raise StageError(f"{stage} produced no files")
        folder = artifact_folder(stage, name, key)
        manifest = Manifest(
            id=artifact_id(folder),
            stage=stage,
            variant=variant,
            key=key,
            digest=content_digest(files, inputs),
            path=folder,
            rows=rows,
            identity=identity,
            inputs=inputs,
            files=files,
            facts=facts,
            provenance=provenance,
        ).with_checksum()
        self.backend.publish(out, folder, manifest.model_dump_json(indent=1).encode())
        return manifest


_OPEN_STORES: dict[str, Store] = {}

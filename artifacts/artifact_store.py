"""The artifact store: the only code that decides where a payload lies and whether it is whole.

    <store>/3_train/<name>_<key8>/payload/…      what the stage wrote
    <store>/3_train/<name>_<key8>/manifest.json  written last; its presence means that the payload is whole
    <store>/results/<key>                        Prefect's records, JSON
    <store>/champions/<base model>/<number>.json who is champion: one file a change, never rewritten
    <store>/runs/<run>.json, pins/<artifact>     who needs what (artifacts/retention.py)
    <store>/jobs/<artifact id>.json              all that it takes to make an artifact again (tasks/execution/sharding.py)
    <store>/parts/<stage>-<key>/…                parts of one that several machines make together, until it is whole

The root is DIALOGSUM_STORE: a path, or a URI that fsspec knows (`s3://…`). Nothing in the store records the root, so
a store can be moved. Scratch (half-made payloads, locks) lies inside a local store and beside a remote one.
"""

import contextlib
import json
import os
import re
import uuid
from collections.abc import Container, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import ValidationError
from upath import UPath

from artifacts.backend import Place, sha256_of
from artifacts.cache_key import Identity
from artifacts.errors import RequestError, StageError, nearest, one_line, writing
from artifacts.local_backend import LocalPlace
from artifacts.manifest import FileSeal, InputRef, Made, Manifest, content_digest, seal_of
from artifacts.remote_backend import RemotePlace
from artifacts.user_paths import project_folder, user_path

NUMBERS = {"download": 1, "format": 2, "train": 3, "generate": 4, "score": 5, "report": 6, "promote": 7}
FORMAT = 1
_ID = re.compile(rf"({'|'.join(NUMBERS)})-([0-9a-f]{{8}})")
_RELATIVE = re.compile(rf"[1-9]_({'|'.join(NUMBERS)})/[A-Za-z0-9.-]{{1,80}}_[0-9a-f]{{8}}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


class DamageError(ValueError):
    """An artifact is there but not whole; the message says which file and how."""


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
            if not self.is_local:  # a listing that is remembered would hide what another machine has made since
                self.root = UPath(root, use_listings_cache=False)
                self.place: Place = RemotePlace(self.root)
        except Exception as error:  # unknown scheme, or a known one without its package
            raise RequestError(
                f"DIALOGSUM_STORE: {one_line(root, 80)!r} is no path or known URI ({one_line(error, 100)})"
            ) from error
        if self.is_local:
            self.root = UPath(user_path(self.root.path, "DIALOGSUM_STORE").resolve())
            self.place = LocalPlace(Path(self.root.path))

    @classmethod
    def current(cls) -> "Store":
        """The store that DIALOGSUM_STORE names; one object a root, so that bytes are hashed once a process."""
        root = os.environ.get("DIALOGSUM_STORE") or str(project_folder() / "artifacts" / "store")
        if root not in _OPEN:
            _OPEN[root] = cls(root)
        return _OPEN[root]

    # -- where things lie

    @property
    def scratch(self) -> Path:
        """Local folder for half-made things."""
        return self.place.scratch

    @staticmethod
    def relative(stage: str, name: str, key: str) -> str:
        """Folder of an artifact in the store, made from its identity alone."""
        safe = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[:60] or stage
        return f"{NUMBERS[stage]}_{stage}/{safe}_{key[:8]}"

    def absolute(self, relative: str) -> str:
        """A path or URI that a person can open."""
        return f"{self.place.name}/{_checked(relative)}"

    # -- reading

    def manifest(self, relative: str) -> Manifest | None:
        """The manifest at a folder, or None where there is none. DamageError where it does not read or is altered."""
        try:
            text = self.place.read(f"{_checked(relative)}/manifest.json")
        except IsADirectoryError:
            raise DamageError("manifest.json is a folder") from None
        return None if text is None else self._read_manifest(relative, text)

    def _read_manifest(self, relative: str, text: bytes) -> Manifest:
        try:
            content = json.loads(text)
            whole = content["seal"] == seal_of(content)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamageError(f"manifest.json does not read: {one_line(error, 120)}") from error
        if not whole:
            raise DamageError("manifest.json was altered: its seal does not match")
        if content.get("format") != FORMAT:
            raise RequestError(
                f"{self.absolute(relative)} was written by another version of this project (format "
                f"{content.get('format')}, this is {FORMAT}): use that version, or another DIALOGSUM_STORE"
            )
        try:
            manifest = Manifest.model_validate(content)
        except ValidationError as error:
            raise DamageError(f"manifest.json does not read: {one_line(error, 120)}") from error
        if manifest.path != relative:
            raise DamageError(f"manifest.json is of {manifest.path}")
        if not all(_FILE_NAME.fullmatch(name) for name in manifest.files):
            raise DamageError("manifest.json names a file outside its payload")
        if manifest.digest != content_digest(manifest.files, manifest.inputs):
            raise DamageError("manifest.json names a digest that is not of its files")
        return manifest

    def verified(self, relative: str) -> Manifest:
        """The manifest of a whole artifact, every payload byte checked. DamageError says what is wrong."""
        manifest = self.manifest(relative)
        if manifest is None:
            raise DamageError(f"no artifact at {relative}")
        payload = f"{relative}/payload"
        found = self.place.entries(payload)
        for name, seal in manifest.files.items():
            if name not in found:
                raise DamageError(f"payload file {name} is missing")
            if found[name].size != seal.bytes:
                raise DamageError(f"payload file {name} has {found[name].size} bytes, not {seal.bytes}")
            if self.place.sha256(f"{payload}/{name}", found[name]) != seal.sha256:
                raise DamageError(f"payload file {name} was altered: its sha256 differs")
        if extra := set(found) - set(manifest.files):
            raise DamageError(f"payload holds a file that the stage did not write: {sorted(extra)[0]}")
        return manifest

    def payload(self, relative: str) -> Path:
        """A local folder with the verified payload; a remote one is copied to scratch first."""
        manifest = self.verified(relative)
        return self.place.fetch(relative, manifest.digest, manifest.files)

    def folders(self, stage: str | None = None) -> list[str]:
        """Relative folders of all artifacts, whole or not."""
        wanted = [f"{number}_{name}" for name, number in NUMBERS.items() if stage in (None, name)]
        found = [f"{folder}/{entry}" for folder in wanted for entry in self.place.entries(folder)]
        return sorted(relative for relative in found if _RELATIVE.fullmatch(relative))

    def latest(self, stage: str, most: int) -> list[Manifest]:
        """The artifacts of a stage that the disk calls newest, or all where it keeps no times of folders."""
        entries = self.place.entries(f"{NUMBERS[stage]}_{stage}")
        times = sorted((entry.changed for entry in entries.values()), reverse=True)
        since = times[min(most, len(times)) - 1] if times else 0.0
        return self.manifests(
            stage, {id_of(f"{NUMBERS[stage]}_{stage}/{name}") for name, e in entries.items() if e.changed >= since}
        )

    def manifests(self, stage: str | None = None, ids: Container[str] | None = None) -> list[Manifest]:
        """All artifacts, or those of `ids`, whose manifest reads, oldest first; payloads are not checked."""
        folders = [relative for relative in self.folders(stage) if ids is None or id_of(relative) in ids]
        texts = self.place.read_all(f"{relative}/manifest.json" for relative in folders)
        found = []
        for path, text in texts.items():
            with contextlib.suppress(DamageError):
                found.append(self._read_manifest(path.removesuffix("/manifest.json"), text))
        return sorted(found, key=lambda m: (m.made.at, m.id))

    def next_moment(self, stage: str) -> str:
        """UTC now; or, where the clock was set back, just after the newest artifact of the stage: it has to sort after it."""
        moments = [now()]
        # ValueError: there is none; RequestError: one is of another version, which is no reason to lose what was made
        with contextlib.suppress(RequestError, ValueError):
            newest = max(manifest.made.at for manifest in self.manifests(stage))
            moments.append(
                (datetime.fromisoformat(newest) + timedelta(microseconds=1)).isoformat(timespec="microseconds")
            )
        return max(moments)

    def by_id(self, artifact: str) -> Manifest:
        """The manifest of an artifact id such as `train-1a2b3c4d`. RequestError for any other text."""
        match = _ID.fullmatch(artifact)
        if not match:
            raise RequestError(
                f"{artifact!r} is not an artifact id (expected <stage>-<8 hex digits>; see `dialogsum show`)"
            )
        stage, key8 = match.groups()
        folders = self.folders(stage)
        for relative in folders:
            if relative.endswith(f"_{key8}"):
                try:
                    manifest = self.manifest(relative)
                except DamageError as error:
                    raise RequestError(f"{artifact} is damaged: {error}; rerun its stage") from error
                if manifest is not None:
                    return manifest
        known = [id_of(relative) for relative in folders]
        raise RequestError(f"no artifact {artifact} in {self.root}{nearest(artifact, known) if known else ''}")

    # -- writing

    def check_writable(self) -> None:
        """Write, read and delete a probe. RequestError if any of it fails."""
        probe = f".probe-{uuid.uuid4().hex}"
        try:
            self.place.prepare()
            self.place.write(probe, b"dialogsum")
            ok = self.place.read(probe) == b"dialogsum"
            self.place.delete(probe)
            self.scratch.mkdir(parents=True, exist_ok=True)
        except (RequestError, StageError) as error:
            raise RequestError(str(error)) from error
        except OSError as error:
            raise RequestError(
                f"the store {self.root} cannot be written ({one_line(error, 160)}): mend it or set DIALOGSUM_STORE to another"
            ) from error
        if not ok:
            raise RequestError(
                f"the store {self.root} returned other bytes than were written: set DIALOGSUM_STORE to another"
            )

    @contextlib.contextmanager
    def alone(self, stage: str, key: str) -> Iterator[Path]:
        """The only process at work on this key (on this host); yields its scratch folder, kept from run to run.

        The lock is the kernel's, so it ends with its holder.
        """
        folder = self.scratch / f"{stage}-{key}"
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(str(folder.with_suffix(".lock"))):
                folder.mkdir(parents=True, exist_ok=True)  # the holder before us may have cleared it
                yield folder

    def is_busy(self, stage: str, key: str) -> bool:
        """Whether a process on this host is at work on this key."""
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
        of: str | None,
        name: str,
        key: str,
        rows: int,
        identity: Identity,
        inputs: dict[str, InputRef],
        facts: dict[str, Any],
        made: Made,
    ) -> Manifest:
        """Seal the files in `out` and move them into the store, the manifest last."""
        files = {}
        for file in sorted(out.iterdir()):
            if not file.is_file() or file.is_symlink() or not _FILE_NAME.fullmatch(file.name):
                raise StageError(f"{stage} left {file.name!r} in its output; expected plain files only")
            files[file.name] = FileSeal(bytes=file.stat().st_size, sha256=sha256_of(file))
        if not files:
            raise StageError(f"{stage} wrote nothing")
        relative = self.relative(stage, name, key)
        manifest = Manifest(
            format=FORMAT, id=f"{stage}-{key[:8]}", stage=stage, of=of, key=key, digest=content_digest(files, inputs),
            path=relative, rows=rows, identity=identity, inputs=inputs, files=files, facts=facts, made=made,
        ).sealed()  # fmt: skip
        self.place.publish(out, relative, manifest.model_dump_json(indent=1).encode())
        return manifest

    # -- small things beside the artifacts: Prefect's records, the champions, who needs what

    def read(self, *parts: str) -> bytes | None:
        """Bytes of a small file beside the artifacts, or None."""
        return self.place.read(_small(parts))

    def write(self, content: bytes, *parts: str) -> None:
        """Write a small file beside the artifacts, whole or not at all."""
        self.place.write(_small(parts), content)

    def create(self, content: bytes, *parts: str) -> bool:
        """Write a small file that is not there yet, whole or not at all; False if it is there, whoever was first."""
        return self.place.create(_small(parts), content)

    def delete(self, *parts: str) -> None:
        """Remove a small file beside the artifacts, if it is there."""
        self.place.delete(_small(parts))

    def names(self, *parts: str) -> list[str]:
        """Names of the small files in a folder beside the artifacts, sorted; none where there is no folder."""
        return sorted(name for name in self.place.entries(_small(parts)) if not name.startswith("."))

    def read_all(self, *parts: str) -> dict[str, bytes]:
        """The small files in such a folder by name, sorted."""
        folder = _small(parts)
        found = self.place.read_all(f"{folder}/{name}" for name in self.names(*parts))
        return {path.removeprefix(f"{folder}/"): found[path] for path in sorted(found)}

    def remove(self, *parts: str) -> None:
        """Remove a folder of small files beside the artifacts, if it is there."""
        self.place.remove(_small(parts))


_OPEN: dict[str, Store] = {}


def id_of(relative: str) -> str:
    """Folder of an artifact in the store -> its id."""
    return f"{relative.split('/')[0][2:]}-{relative[-8:]}"


def now() -> str:
    """UTC now, ISO 8601 with microseconds: sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _checked(relative: str) -> str:
    if not _RELATIVE.fullmatch(relative):
        raise RequestError(f"{relative!r} is not the folder of an artifact (expected <n>_<stage>/<name>_<key8>)")
    return relative


def _small(parts: tuple[str, ...]) -> str:
    if not all(_FILE_NAME.fullmatch(part) for part in parts):
        raise RequestError(f"{'/'.join(parts)!r} is not a name in the store")
    return "/".join(parts)

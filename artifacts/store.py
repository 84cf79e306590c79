"""The artifact store: the only code that decides where a payload lies and whether it is whole.

    <store>/3_train/<name>_<key8>/payload/…      what the stage wrote
    <store>/3_train/<name>_<key8>/manifest.json  written last; its presence means that the payload is whole
    <store>/results/<key>                        Prefect's records, JSON
    <store>/champions/<base model>/<number>.json who is champion: one file a change, never rewritten
    <store>/jobs/<artifact id>.json              all that it takes to make an artifact again (tasks/away.py)
    <store>/parts/<stage>-<key>/…                parts of one that several machines make together, until it is whole

The root is DIALOGSUM_STORE: a path, or a URI that fsspec knows (`s3://…`). Nothing in the store records the root, so
a store can be moved. Scratch (half-made payloads, locks) lies inside a local store and beside a remote one.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import ValidationError
from upath import UPath

from artifacts.errors import RequestError, StageError, nearest, one_line
from artifacts.identity import Identity, sha256
from artifacts.manifest import FileSeal, InputRef, Made, Manifest, content_digest, seal_of
from artifacts.paths import user_path

NUMBERS = {"download": 1, "format": 2, "train": 3, "generate": 4, "score": 5, "report": 6, "promote": 7}
FORMAT = 1
DEFAULT_ROOT = Path(__file__).resolve().parent / "store"
_ID = re.compile(rf"({'|'.join(NUMBERS)})-([0-9a-f]{{8}})")
_RELATIVE = re.compile(rf"[1-9]_({'|'.join(NUMBERS)})/[A-Za-z0-9.-]{{1,80}}_[0-9a-f]{{8}}")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}")


class DamageError(ValueError):
    """An artifact is there but not whole; the message says which file and how."""


class Store:
    """An artifact store under `root`, local or remote."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        try:
            self.root = UPath(root)
            self.is_local = self.root.protocol in ("", "file", "local")
        except Exception as error:  # unknown scheme, or a known one without its package
            raise RequestError(
                f"DIALOGSUM_STORE: {one_line(root, 80)!r} is no path or known URI ({one_line(error, 100)})"
            ) from error
        if self.is_local:
            self.root = UPath(user_path(self.root.path, "DIALOGSUM_STORE").resolve())
        self._seen: dict[tuple[object, ...], str] = {}

    @classmethod
    def current(cls) -> "Store":
        """The store that DIALOGSUM_STORE names; one object a root, so that bytes are hashed once a process."""
        root = os.environ.get("DIALOGSUM_STORE") or str(DEFAULT_ROOT)
        if root not in _OPEN:
            _OPEN[root] = cls(root)
        return _OPEN[root]

    # -- where things lie

    @property
    def scratch(self) -> Path:
        """Local folder for half-made things."""
        if self.is_local:
            return Path(self.root.path) / ".scratch"
        return Path(tempfile.gettempdir()) / f"dialogsum-{sha256(str(self.root))[:12]}"

    @staticmethod
    def relative(stage: str, name: str, key: str) -> str:
        """Folder of an artifact in the store, made from its identity alone."""
        safe = re.sub(r"[^A-Za-z0-9.-]+", "-", name).strip("-.")[:60] or stage
        return f"{NUMBERS[stage]}_{stage}/{safe}_{key[:8]}"

    def absolute(self, relative: str) -> str:
        """A path or URI that a person can open."""
        return self._at(relative).path if self.is_local else str(self._at(relative))

    def _at(self, relative: str) -> UPath:
        if not _RELATIVE.fullmatch(relative):
            raise RequestError(f"{relative!r} is not the folder of an artifact (expected <n>_<stage>/<name>_<key8>)")
        return self.root / relative

    # -- reading

    def manifest(self, relative: str) -> Manifest | None:
        """The manifest at a folder, or None where there is none. DamageError where it does not read or is altered."""
        try:
            text = (self._at(relative) / "manifest.json").read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            raise DamageError("manifest.json is a folder") from None
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
        payload = self._at(relative) / "payload"
        for name, seal in manifest.files.items():
            try:
                stat = (payload / name).stat()
            except (FileNotFoundError, NotADirectoryError):
                raise DamageError(f"payload file {name} is missing") from None
            if stat.st_size != seal.bytes:
                raise DamageError(f"payload file {name} has {stat.st_size} bytes, not {seal.bytes}")
            if self._digest(payload / name, stat) != seal.sha256:
                raise DamageError(f"payload file {name} was altered: its sha256 differs")
        if extra := {p.name for p in payload.iterdir()} - set(manifest.files):
            raise DamageError(f"payload holds a file that the stage did not write: {sorted(extra)[0]}")
        return manifest

    def _digest(self, file: UPath, stat: Any) -> str:
        # ctime cannot be set by hand on a local disk, so a file unchanged in all of these has not been written to
        stamp = (str(file), stat.st_size, stat.st_mtime, getattr(stat, "st_ctime_ns", 0), getattr(stat, "st_ino", 0))
        if not self.is_local or stamp not in self._seen:
            with file.open("rb") as f:
                self._seen[stamp] = hashlib.file_digest(f, "sha256").hexdigest()  # type: ignore[arg-type]
        return self._seen[stamp]

    def payload(self, relative: str) -> Path:
        """A local folder with the verified payload; a remote one is copied to scratch first."""
        manifest = self.verified(relative)
        if self.is_local:
            return Path(self._at(relative).path) / "payload"
        local = self.scratch / "fetched" / manifest.digest
        if not self._is_copy(local, manifest):
            shutil.rmtree(local, ignore_errors=True)
            half = local.with_name(f"{local.name}.{uuid.uuid4().hex[:8]}")
            half.mkdir(parents=True)
            for name in manifest.files:
                (half / name).write_bytes((self._at(relative) / "payload" / name).read_bytes())
            with contextlib.suppress(OSError):  # another process was first
                half.rename(local)
        return local

    @staticmethod
    def _is_copy(local: Path, manifest: Manifest) -> bool:
        """Whether a local folder still holds the payload's bytes and nothing else."""
        if not local.is_dir() or {file.name for file in local.iterdir()} != set(manifest.files):
            return False
        return all(
            hashlib.sha256((local / name).read_bytes()).hexdigest() == seal.sha256
            for name, seal in manifest.files.items()
        )

    def manifests(self, stage: str | None = None) -> list[Manifest]:
        """All artifacts whose manifest reads, oldest first; payloads are not checked."""
        found = []
        for name, number in NUMBERS.items():
            folder = self.root / f"{number}_{name}"
            if stage not in (None, name) or not folder.exists():
                continue
            for entry in folder.iterdir():
                relative = f"{number}_{name}/{entry.name}"
                if _RELATIVE.fullmatch(relative):
                    with contextlib.suppress(DamageError):
                        manifest = self.manifest(relative)
                        if manifest is not None:
                            found.append(manifest)
        return sorted(found, key=lambda m: (m.made.at, m.id))

    def by_id(self, artifact: str) -> Manifest:
        """The manifest of an artifact id such as `train-1a2b3c4d`. RequestError for any other text."""
        match = _ID.fullmatch(artifact)
        if not match:
            raise RequestError(
                f"{artifact!r} is not an artifact id (expected <stage>-<8 hex digits>; see `dialogsum show`)"
            )
        stage, key8 = match.groups()
        folder = self.root / f"{NUMBERS[stage]}_{stage}"
        names = [entry.name for entry in folder.iterdir()] if folder.exists() else []
        for name in names:
            if name.endswith(f"_{key8}"):
                try:
                    manifest = self.manifest(f"{NUMBERS[stage]}_{stage}/{name}")
                except DamageError as error:
                    raise RequestError(f"{artifact} is damaged: {error}; rerun its stage") from error
                if manifest is not None:
                    return manifest
        known = [f"{stage}-{name[-8:]}" for name in names if not name.startswith(".")]
        raise RequestError(f"no artifact {artifact} in {self.root}{nearest(artifact, known) if known else ''}")

    # -- writing

    def check_writable(self) -> None:
        """Write, read and delete a probe. RequestError if any of it fails."""
        probe = self.root / f".probe-{uuid.uuid4().hex}"
        try:
            if self.is_local:
                Path(self.root.path).mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"dialogsum")
            ok = probe.read_bytes() == b"dialogsum"
            probe.unlink()
            self.scratch.mkdir(parents=True, exist_ok=True)
        except Exception as error:  # every backend has its own classes
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
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(str(folder.with_suffix(".lock"))):
            folder.mkdir(parents=True, exist_ok=True)  # the holder before us may have cleared it
            yield folder

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
            with file.open("rb") as f:
                files[file.name] = FileSeal(
                    bytes=file.stat().st_size, sha256=hashlib.file_digest(f, "sha256").hexdigest()
                )
        if not files:
            raise StageError(f"{stage} wrote nothing")
        relative = self.relative(stage, name, key)
        manifest = Manifest(
            format=FORMAT, id=f"{stage}-{key[:8]}", stage=stage, of=of, key=key, digest=content_digest(files, inputs),
            path=relative, rows=rows, identity=identity, inputs=inputs, files=files, facts=facts, made=made,
        ).sealed()  # fmt: skip
        text = manifest.model_dump_json(indent=1).encode()
        if self.is_local:
            self._publish_local(out, relative, text)
        else:
            self._publish_remote(out, relative, text)
        return manifest

    def _publish_local(self, out: Path, relative: str, manifest: bytes) -> None:
        final = Path(self._at(relative).path)
        final.parent.mkdir(parents=True, exist_ok=True)
        staging = out.parent / "artifact"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        for file in out.iterdir():
            _flush(file)
        _flush(out)
        out.rename(staging / "payload")
        (staging / "manifest.json").write_bytes(manifest)
        _flush(staging / "manifest.json")
        _flush(staging)
        if final.exists():  # damaged, or refreshed: out of the way first, since a folder is never renamed over another
            final.rename(out.parent / f"old-{uuid.uuid4().hex[:8]}")
        staging.rename(final)
        _flush(final.parent)

    def _publish_remote(self, out: Path, relative: str, manifest: bytes) -> None:
        target = self._at(relative)
        with contextlib.suppress(FileNotFoundError):
            (target / "manifest.json").unlink()
        for stale in (target / "payload").iterdir() if (target / "payload").exists() else ():
            stale.unlink()
        for file in sorted(out.iterdir()):
            (target / "payload" / file.name).write_bytes(file.read_bytes())
        (target / "manifest.json").write_bytes(manifest)

    # -- small things beside the artifacts: Prefect's records and the champions

    def read(self, *parts: str) -> bytes | None:
        """Bytes of a small file beside the artifacts, or None."""
        try:
            return self._small(parts).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, content: bytes, *parts: str) -> None:
        """Write a small file beside the artifacts, whole or not at all."""
        target = self._small(parts)
        if not self.is_local:
            target.write_bytes(content)
            return
        path = Path(target.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        half.write_bytes(content)
        _flush(half)
        half.replace(path)

    def create(self, content: bytes, *parts: str) -> bool:
        """Write a small file that is not there yet, whole or not at all; False if it is there, whoever was first."""
        target = self._small(parts)
        if not self.is_local:
            try:
                target.fs.pipe_file(target.path, content, mode="create")
            except FileExistsError:
                return False
            return True
        path = Path(target.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        half.write_bytes(content)
        _flush(half)
        try:
            os.link(half, path)  # unlike rename, it never replaces
        except FileExistsError:
            return False
        finally:
            half.unlink()
        _flush(path.parent)
        return True

    def names(self, *parts: str) -> list[str]:
        """Names of the small files in a folder beside the artifacts, sorted; none where there is no folder."""
        try:
            return sorted(entry.name for entry in self._small(parts).iterdir() if not entry.name.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def remove(self, *parts: str) -> None:
        """Remove a folder of small files beside the artifacts, if it is there."""
        folder = self._small(parts)
        for name in self.names(*parts):
            (folder / name).unlink(missing_ok=True)
        if self.is_local:
            shutil.rmtree(folder.path, ignore_errors=True)

    def _small(self, parts: tuple[str, ...]) -> UPath:
        if not all(_FILE_NAME.fullmatch(part) for part in parts):
            raise RequestError(f"{'/'.join(parts)!r} is not a name in the store")
        return self.root.joinpath(*parts)


_OPEN: dict[str, Store] = {}


def _flush(path: Path) -> None:
    """fsync a file or folder, so that a rename after it cannot come to disk before it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def now() -> str:
    """UTC now, ISO 8601 with microseconds: sorts as text."""
    return datetime.now(UTC).isoformat(timespec="microseconds")

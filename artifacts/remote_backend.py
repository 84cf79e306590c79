"""A store in an object store (S3) or whatever else fsspec knows: payload first, manifest last, no rename needed.

Nothing is written on this machine but scratch: under it, `blobs/` has every payload file that was read here by its
sha256, so that none is read twice, and `seen/` remembers the digest of what lies behind an ETag.
A place that fails before it ever answered is a wrong request (address, credentials); one that fails later, a failed stage.
"""

import functools
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from upath import UPath

from artifacts.backend import Entry, sha256_of
from artifacts.errors import RequestError, StageError, one_line
from artifacts.manifest import FileSeal

TAKEN = ("PreconditionFailed", "ConditionalRequestConflict")
"""What S3 servers answer when an object that was to be created is there, or is being created by somebody else."""
Method = TypeVar("Method", bound=Callable[..., Any])
Answer = TypeVar("Answer")


def _told(method: Method) -> Method:
    """Whatever the backend raises becomes one line that says whose fault it is and what to do."""

    @functools.wraps(method)
    def asked(self: "RemotePlace", *arguments: Any) -> Any:
        try:
            answer = method(self, *arguments)
        except (RequestError, StageError):
            raise
        except Exception as error:  # every backend has its own classes
            raise (StageError if self.answered else RequestError)(self._words(error)) from error
        self.answered = True
        return answer

    return cast(Method, asked)


class RemotePlace:
    """Objects under a URI (see artifacts.backend.Place)."""

    def __init__(self, root: UPath) -> None:
        self.fs, self.root, self.name = root.fs, root.path.rstrip("/"), str(root)
        self.answered = False

    def _at(self, path: str) -> str:
        return f"{self.root}/{path}"

    @functools.cached_property
    def scratch(self) -> Path:
        """Nobody else's: what lies there is believed."""
        me = f"{os.getuid()}-{hashlib.sha256(self.name.encode()).hexdigest()[:12]}"
        folder = Path(tempfile.gettempdir()) / f"dialogsum-{me}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise RequestError(f"{folder} belongs to another user: set TMPDIR to a folder of your own")
        return folder

    def prepare(self) -> None:
        """Nothing: a bucket is made by whoever pays for it."""

    @_told
    def read(self, path: str) -> bytes | None:
        try:
            return cast(bytes, self.fs.cat_file(self._at(path)))
        except FileNotFoundError as error:
            return _unless_no_bucket(error, None)

    @_told
    def read_all(self, paths: Iterable[str]) -> dict[str, bytes]:
        wanted = {self._at(path): path for path in paths}
        found = self.fs.cat(list(wanted), on_error="return") if wanted else {}
        for error in found.values():
            if isinstance(error, Exception) and not isinstance(error, FileNotFoundError):
                raise error
        return {wanted[place]: text for place, text in found.items() if isinstance(text, bytes)}

    @_told
    def write(self, path: str, content: bytes) -> None:
        self.fs.pipe_file(self._at(path), content)

    @_told
    def create(self, path: str, content: bytes) -> bool:
        try:
            self.fs.pipe_file(self._at(path), content, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            if _code(error) in TAKEN:
                return False
            raise
        return True

    @_told
    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self.fs.rm_file(self._at(path))

    @_told
    def entries(self, folder: str) -> dict[str, Entry]:
        return self._listed(folder, self.fs.ls)

    @_told
    def files(self, folder: str) -> dict[str, Entry]:
        return self._listed(folder, lambda place, detail: self.fs.find(place, detail=detail).values())

    def _listed(self, folder: str, how: Callable[..., Iterable[dict[str, Any]]]) -> dict[str, Entry]:
        top = self._at(folder).rstrip("/") + "/"
        try:
            found = {str(info["name"]): info for info in how(top.rstrip("/"), detail=True)}
        except (FileNotFoundError, NotADirectoryError) as error:
            return _unless_no_bucket(error, {})
        return {
            name.removeprefix(top).rstrip("/"): _entry(info)
            for name, info in found.items()
            if name.startswith(top) and name != top
        }

    def sha256(self, path: str, entry: Entry) -> str:
        """Of an object that carries an ETag the digest is remembered, for this object as it is now."""
        known = f"{self.name} {path} {entry.stamp}"
        note = self.scratch / "seen" / hashlib.sha256(known.encode()).hexdigest()
        if entry.stamp is not None and note.is_file():
            return note.read_text()
        digest = self._download(path)
        if entry.stamp is not None:
            note.parent.mkdir(parents=True, exist_ok=True)
            half = note.with_name(uuid.uuid4().hex)
            half.write_text(digest)
            half.replace(note)
        return digest

    @_told
    def _download(self, path: str) -> str:
        """Copy an object to `blobs/`; returns its sha256, which is its name there."""
        blobs = self.scratch / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        half = blobs / f".{uuid.uuid4().hex}"
        try:
            self.fs.get_file(self._at(path), str(half))
            digest = sha256_of(half)
            half.replace(blobs / digest)
        finally:
            half.unlink(missing_ok=True)
        return digest

    @_told
    def publish(self, out: Path, folder: str, manifest: bytes) -> None:
        self.delete(f"{folder}/manifest.json")
        for stale in self.files(f"{folder}/payload"):
            self.delete(f"{folder}/payload/{stale}")
        for file in sorted(out.iterdir()):
            self.fs.put_file(str(file), self._at(f"{folder}/payload/{file.name}"))
        self.write(f"{folder}/manifest.json", manifest)

    def fetch(self, folder: str, digest: str, files: dict[str, FileSeal]) -> Path:
        local = self.scratch / "fetched" / digest
        if not _is_copy(local, files):
            shutil.rmtree(local, ignore_errors=True)
            half = local.with_name(f"{digest}.{uuid.uuid4().hex[:8]}")
            half.mkdir(parents=True)
            for name, seal in files.items():
                blob = self.scratch / "blobs" / seal.sha256
                whole = blob.is_file() and sha256_of(blob) == seal.sha256
                if not whole and self._download(f"{folder}/payload/{name}") != seal.sha256:
                    raise StageError(f"{self.name}/{folder}/payload/{name} changed while it was read: run again")
                os.link(blob, half / name)
            with suppress(OSError):  # another process was first
                half.rename(local)
        os.utime(local)  # in use: not to be taken for abandoned
        return local

    @_told
    def remove(self, folder: str) -> None:
        self.delete(f"{folder}/manifest.json")
        for file in self.files(folder):
            self.delete(f"{folder}/{file}")

    def _words(self, error: Exception) -> str:
        """An error of the backend in words; it never holds a secret, since none is in a URI (artifacts/artifact_store.py)."""
        said = one_line(error, 160)
        if isinstance(error, PermissionError) or "redentials" in type(error).__name__:
            return (
                f"the store {self.name} refuses these credentials ({said}): set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY to some that may list, read, write and delete there"
            )
        if _code(error) == "NoSuchBucket":
            return f"the store {self.name} lies in a bucket that does not exist: create it, or mend DIALOGSUM_STORE"
        return (
            f"the store {self.name} does not answer ({said}): give the same command again once it is back, finished "
            "stages are kept"
        )


def _entry(info: dict[str, Any]) -> Entry:
    changed = info.get("LastModified") or info.get("created")
    seconds = changed.timestamp() if isinstance(changed, datetime) else 0.0
    stamp = f"{info['size']} {info['ETag']} {seconds}" if info.get("ETag") else None
    return Entry(int(info.get("size") or 0), seconds, stamp)


def _is_copy(local: Path, files: dict[str, FileSeal]) -> bool:
    """Whether a local folder still holds the payload's bytes and nothing else."""
    if not local.is_dir() or {file.name for file in local.iterdir()} != set(files):
        return False
    return all(sha256_of(local / name) == seal.sha256 for name, seal in files.items())


def _code(error: Exception) -> str:
    """The S3 error code behind an exception, or nothing."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _unless_no_bucket(error: Exception, answer: Answer) -> Answer:
    if _code(error) == "NoSuchBucket":
        raise error
    return answer

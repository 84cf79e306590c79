"""RemoteBackend: a store in an object store (S3) or another file system that fsspec knows.

The payload is uploaded first and the manifest last, so no rename is needed. Only scratch is written on this machine:
`blobs/` keeps each payload file that was downloaded under its sha256, so that none is downloaded twice, and `seen/`
the digest of each object version, by its ETag. An error before the first successful request is a RequestError
(address, credentials), a later one a StageError.
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

from artifacts.atomic_files import atomic_path, sha256_of, temporary_sibling
from artifacts.backend import Entry
from artifacts.errors import RequestError, StageError
from artifacts.manifest import FileDigest
from artifacts.s3_checksums import refused_checksums
from artifacts.text import one_line

EXISTS_CODES = ("PreconditionFailed", "ConditionalRequestConflict")
"""S3 error codes for creating an object that exists, or that somebody else is creating."""
UNAUTHORIZED_CODES = ("Unauthorized", "401")
Method = TypeVar("Method", bound=Callable[..., Any])
Result = TypeVar("Result")


def _translate_errors(method: Method) -> Method:
    """Turn any error of the backend into one line with a remedy: RequestError or StageError."""

    @functools.wraps(method)
    def translated(self: "RemoteBackend", *arguments: Any) -> Any:
        try:
            result = method(self, *arguments)
        except (RequestError, StageError):
            raise
        except Exception as error:  # every file system has its own classes
            raise (StageError if self.connected else RequestError)(self._message(error)) from error
        self.connected = True
        return result

    return cast(Method, translated)


class RemoteBackend:
    """Objects under a URI (see artifacts.backend.Place)."""

    def __init__(self, root: UPath) -> None:
        self.fs, self.root, self.name = root.fs, root.path.rstrip("/"), str(root)
        self.connected = False

    def _at(self, path: str) -> str:
        return f"{self.root}/{path}"

    @functools.cached_property
    def scratch(self) -> Path:
        """Private to this user, because its contents are trusted."""
        owner = f"{os.getuid()}-{hashlib.sha256(self.name.encode()).hexdigest()[:12]}"
        folder = Path(tempfile.gettempdir()) / f"dialogsum-{owner}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise RequestError(f"{folder} belongs to another user: set TMPDIR to a folder of your own")
        return folder

    def prepare(self) -> None:
        """Nothing to do: buckets are created by their owner."""

    @_translate_errors
    def read(self, path: str) -> bytes | None:
        try:
            return cast(bytes, self.fs.cat_file(self._at(path)))
        except FileNotFoundError as error:
            return _unless_no_bucket(error, None)

    @_translate_errors
    def read_all(self, paths: Iterable[str]) -> dict[str, bytes]:
        by_object = {self._at(path): path for path in paths}
        contents = self.fs.cat(list(by_object), on_error="return") if by_object else {}
        for error in contents.values():
            if isinstance(error, Exception) and not isinstance(error, FileNotFoundError):
                raise error
        return {by_object[name]: content for name, content in contents.items() if isinstance(content, bytes)}

    @_translate_errors
    def write(self, path: str, content: bytes) -> None:
        self.fs.pipe_file(self._at(path), content)

    @_translate_errors
    def create(self, path: str, content: bytes) -> bool:
        try:
            self.fs.pipe_file(self._at(path), content, mode="create")
        except FileExistsError:
            return False
        except OSError as error:
            if _code(error) in EXISTS_CODES:
                return False
            raise
        return True

    @_translate_errors
    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self.fs.rm_file(self._at(path))

    @_translate_errors
    def entries(self, folder: str) -> dict[str, Entry]:
        return self._listed(folder, self.fs.ls)

    @_translate_errors
    def files(self, folder: str) -> dict[str, Entry]:
        return self._listed(folder, lambda top, detail: self.fs.find(top, detail=detail).values())

    def _listed(self, folder: str, list_objects: Callable[..., Iterable[dict[str, Any]]]) -> dict[str, Entry]:
        top = self._at(folder).rstrip("/") + "/"
        try:
            infos = {str(info["name"]): info for info in list_objects(top.rstrip("/"), detail=True)}
        except (FileNotFoundError, NotADirectoryError) as error:
            return _unless_no_bucket(error, {})
        return {
            name.removeprefix(top).rstrip("/"): _entry(info)
            for name, info in infos.items()
            if name.startswith(top) and name != top
        }

    def sha256(self, path: str, entry: Entry) -> str:
        """Digest of an object. It is remembered for the object version that the ETag names."""
        version = f"{self.name} {path} {entry.stamp}"
        note = self.scratch / "seen" / hashlib.sha256(version.encode()).hexdigest()
        if entry.stamp is not None and note.is_file():
            return note.read_text()
        digest = self._download(path)
        if entry.stamp is not None:
            with atomic_path(note) as temporary:
                temporary.write_text(digest)
        return digest

    @_translate_errors
    def _download(self, path: str) -> str:
        """Copy an object to `blobs/`. Returns its sha256, which is the name of the copy."""
        blobs = self.scratch / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        temporary = temporary_sibling(blobs / "download")
        try:
            self.fs.get_file(self._at(path), str(temporary))
            digest = sha256_of(temporary)
            temporary.replace(blobs / digest)
        finally:
            temporary.unlink(missing_ok=True)
        return digest

    @_translate_errors
    def publish(self, out: Path, folder: str, manifest: bytes) -> None:
        self.delete(f"{folder}/manifest.json")
        for stale in self.files(f"{folder}/payload"):
            self.delete(f"{folder}/payload/{stale}")
        for file in sorted(out.iterdir()):
            self.fs.put_file(str(file), self._at(f"{folder}/payload/{file.name}"))
        self.write(f"{folder}/manifest.json", manifest)

    def fetch(self, folder: str, digest: str, files: dict[str, FileDigest]) -> Path:
        local = self.scratch / "fetched" / digest
        if not _is_copy(local, files):
            shutil.rmtree(local, ignore_errors=True)
            temporary = local.with_name(f"{digest}.{uuid.uuid4().hex[:8]}")
            temporary.mkdir(parents=True)
            for name, expected in files.items():
                blob = self.scratch / "blobs" / expected.sha256
                intact = blob.is_file() and sha256_of(blob) == expected.sha256
                if not intact and self._download(f"{folder}/payload/{name}") != expected.sha256:
                    raise StageError(f"{self.name}/{folder}/payload/{name} changed while it was read: run again")
                os.link(blob, temporary / name)
            with suppress(OSError):  # another process was first
                temporary.rename(local)
        os.utime(local)  # garbage collection removes copies that have not been used for a while
        return local

    @_translate_errors
    def remove(self, folder: str) -> None:
        self.delete(f"{folder}/manifest.json")
        for file in self.files(folder):
            self.delete(f"{folder}/{file}")

    def _message(self, error: Exception) -> str:
        """One line for an error of the backend. It contains no secret, since URIs with credentials are refused."""
        text = one_line(error, 160)
        if _code(error) and (settings := refused_checksums(self.name)):
            return (
                f"the store {self.name} refuses S3's newer checksums ({text}), but works without them: set {settings}; "
                "bytes are verified nevertheless"
            )
        if (
            _code(error) in UNAUTHORIZED_CODES
            or isinstance(error, PermissionError)
            or "redentials" in type(error).__name__
        ):
            return (
                f"the store {self.name} refuses these credentials ({text}): set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY to credentials that may list, read, write and delete there"
            )
        if _code(error) == "NoSuchBucket":
            return f"the bucket of the store {self.name} does not exist: create it, or correct DIALOGSUM_STORE"
        return (
            f"the store {self.name} does not answer ({text}): run the same command again once it is back; finished "
            "stages are kept"
        )


def _entry(info: dict[str, Any]) -> Entry:
    changed = info.get("LastModified") or info.get("created")
    seconds = changed.timestamp() if isinstance(changed, datetime) else 0.0
    stamp = f"{info['size']} {info['ETag']} {seconds}" if info.get("ETag") else None
    return Entry(int(info.get("size") or 0), seconds, stamp)


def _is_copy(local: Path, files: dict[str, FileDigest]) -> bool:
    """Whether a local folder still contains exactly the payload's bytes."""
    if not local.is_dir() or {file.name for file in local.iterdir()} != set(files):
        return False
    return all(sha256_of(local / name) == file.sha256 for name, file in files.items())


def _is_refusal(error: Exception) -> bool:
    """Whether the credentials are not accepted."""
    unauthorized = isinstance(error, PermissionError) or _code(error) in UNAUTHORIZED_CODES
    return unauthorized or "redentials" in type(error).__name__


def _code(error: Exception) -> str:
    """The S3 error code behind an exception, or an empty string."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def _unless_no_bucket(error: Exception, result: Result) -> Result:
    if _code(error) == "NoSuchBucket":
        raise error
    return result

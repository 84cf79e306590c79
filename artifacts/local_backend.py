"""A store on a disk of this machine, or one that is mounted here: writes are flushed and renamed into place."""

import os
import shutil
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from artifacts.backend import Entry, sha256_of
from artifacts.errors import RequestError, writing
from artifacts.manifest import FileSeal


class LocalPlace:
    """Files under a folder (see artifacts.backend.Place)."""

    def __init__(self, root: Path) -> None:
        self.root, self.name, self.scratch = root, str(root), root / ".scratch"
        self._seen: dict[str, str] = {}

    def _at(self, path: str) -> Path:
        """Where a path lies. RequestError if a link on the way leads out of the store: nothing is read or written there."""
        place = self.root / path
        if not Path(os.path.realpath(place)).is_relative_to(self.root):
            raise RequestError(f"{place} leads out of the store through a link: remove the link")
        return place

    def prepare(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)

    def read(self, path: str) -> bytes | None:
        try:
            return self._at(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_all(self, paths: Iterable[str]) -> dict[str, bytes]:
        return {path: content for path in paths if (content := self._read_file(path)) is not None}

    def _read_file(self, path: str) -> bytes | None:
        try:
            return self.read(path)
        except IsADirectoryError:
            return b""

    def write(self, path: str, content: bytes) -> None:
        half = self._half(path, content)
        half.replace(self._at(path))

    def create(self, path: str, content: bytes) -> bool:
        half = self._half(path, content)
        try:
            os.link(half, self._at(path))  # unlike rename, it never replaces
        except FileExistsError:
            return False
        finally:
            half.unlink()
        flush(half.parent)
        return True

    def _half(self, path: str, content: bytes) -> Path:
        """A hidden sibling with the content, on the disk."""
        final = self._at(path)
        half = final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}")
        with writing(final.parent):
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                half.write_bytes(content)
                flush(half)
            except OSError:
                half.unlink(missing_ok=True)
                raise
        return half

    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError, NotADirectoryError), writing(self.root):
            self._at(path).unlink()
            flush(self._at(path).parent)

    def entries(self, folder: str) -> dict[str, Entry]:
        try:
            with os.scandir(self._at(folder)) as found:
                return {entry.name: _entry(Path(entry.path)) for entry in found}
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def files(self, folder: str) -> dict[str, Entry]:
        top = self._at(folder)
        return {str(file.relative_to(top)): _entry(file) for file in top.rglob("*") if not file.is_dir()}

    def sha256(self, path: str, entry: Entry) -> str:
        seen = f"{path} {entry.stamp}"
        if seen not in self._seen:
            self._seen[seen] = sha256_of(self._at(path))
        return self._seen[seen]

    def publish(self, out: Path, folder: str, manifest: bytes) -> None:
        final = self._at(folder)
        final.parent.mkdir(parents=True, exist_ok=True)
        staging = out.parent / "artifact"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        for file in out.iterdir():
            flush(file)
        flush(out)
        out.rename(staging / "payload")
        (staging / "manifest.json").write_bytes(manifest)
        flush(staging / "manifest.json")
        flush(staging)
        if final.exists():  # damaged, or refreshed: out of the way first, since a folder is never renamed over another
            final.rename(out.parent / f"old-{uuid.uuid4().hex[:8]}")
        staging.rename(final)
        flush(final.parent)

    def fetch(self, folder: str, digest: str, files: dict[str, FileSeal]) -> Path:
        return self._at(folder) / "payload"

    def remove(self, folder: str) -> None:
        self.delete(f"{folder}/manifest.json")
        shutil.rmtree(self._at(folder), ignore_errors=True)


def _entry(file: Path) -> Entry:
    try:
        stat = file.stat()
    except OSError:  # a link to nowhere
        return Entry(-1, 0.0, None)
    # ctime cannot be set by hand, so a file unchanged in all of these has not been written to
    return Entry(
        stat.st_size, stat.st_mtime, f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino} {stat.st_dev}"
    )


def flush(path: Path) -> None:
    """fsync a file or folder, so that a rename after it cannot come to disk before it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""LocalBackend: a store on a local or mounted disk. Files are flushed, then renamed into place."""

import os
import shutil
import uuid
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from artifacts.atomic_files import atomic_path, flush, sha256_of, temporary_sibling
from artifacts.backend import Entry
from artifacts.errors import RequestError, translate_disk_errors
from artifacts.manifest import FileDigest


class LocalBackend:
    """Files under a folder (see artifacts.backend.StorageBackend)."""

    def __init__(self, root: Path) -> None:
        self.root, self.name, self.scratch = root, str(root), root / ".scratch"
        self._digests: dict[str, str] = {}

    def _at(self, path: str) -> Path:
        """The local path. RequestError if a link on the way leads out of the store: such paths are not used."""
        local = self.root / path
        if not Path(os.path.realpath(local)).is_relative_to(self.root):
            raise RequestError(f"{local} leads out of the store through a link: remove the link")
        return local

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
        final = self._at(path)
        with translate_disk_errors(final.parent), atomic_path(final) as temporary:
            temporary.write_bytes(content)

    def create(self, path: str, content: bytes) -> bool:
        final = self._at(path)
        temporary = temporary_sibling(final)
        with translate_disk_errors(final.parent):
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(content)
                flush(temporary)
                os.link(temporary, final)  # unlike rename, it never replaces
            except FileExistsError:
                return False
            finally:
                temporary.unlink(missing_ok=True)
            flush(final.parent)
        return True

    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError, NotADirectoryError), translate_disk_errors(self.root):
            self._at(path).unlink()
            flush(self._at(path).parent)

    def entries(self, folder: str) -> dict[str, Entry]:
        try:
            with os.scandir(self._at(folder)) as entries:
                return {entry.name: _entry(Path(entry.path)) for entry in entries}
        except (FileNotFoundError, NotADirectoryError):
            return {}

    def files(self, folder: str) -> dict[str, Entry]:
        top = self._at(folder)
        return {str(file.relative_to(top)): _entry(file) for file in top.rglob("*") if not file.is_dir()}

    def sha256(self, path: str, entry: Entry) -> str:
        version = f"{path} {entry.stamp}"
        if version not in self._digests:
            self._digests[version] = sha256_of(self._at(path))
        return self._digests[version]

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
        if final.exists():  # a damaged or refreshed artifact: moved away, since a folder cannot be renamed over another
            final.rename(out.parent / f"old-{uuid.uuid4().hex[:8]}")
        staging.rename(final)
        flush(final.parent)

    def fetch(self, folder: str, digest: str, files: dict[str, FileDigest]) -> Path:
        return self._at(folder) / "payload"

    def remove(self, folder: str) -> None:
        self.delete(f"{folder}/manifest.json")
        shutil.rmtree(self._at(folder), ignore_errors=True)


def _entry(file: Path) -> Entry:
    try:
        stat = file.stat()
    except OSError:  # a dangling link
        return Entry(-1, 0.0, None)
    # nobody can set ctime, so a file for which all of these are unchanged has not been written to
    return Entry(
        stat.st_size, stat.st_mtime, f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino} {stat.st_dev}"
    )

"""StorageBackend: what a store needs from a local disk (local_backend.py) or an object store (remote_backend.py)."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

from artifacts.manifest import FileDigest


class Entry(NamedTuple):
    """One name in a folder listing."""

    size: int
    """Bytes; -1 for a dangling link."""
    changed: float
    """Time of the last change, seconds since 1970; 0.0 if the backend keeps none."""
    stamp: str | None
    """Changes whenever the file is written; None if the backend has no such stamp."""


class StorageBackend(Protocol):
    """Files under one root. Paths are relative to it, with forward slashes; missing files are None or left out."""

    name: str
    """The root, as people know it."""

    @property
    def scratch(self) -> Path:
        """Local folder for unfinished work."""

    def prepare(self) -> None:
        """Get ready for the first write."""

    def read(self, path: str) -> bytes | None:
        """The bytes of a file."""

    def read_all(self, paths: Iterable[str]) -> dict[str, bytes]:
        """The bytes of several files, in any order; missing ones are left out."""

    def write(self, path: str, content: bytes) -> None:
        """Create or replace a file atomically."""

    def create(self, path: str, content: bytes) -> bool:
        """Create a file atomically. False if it exists already; of several creators exactly one gets True."""

    def delete(self, path: str) -> None:
        """Delete a file, if it exists."""

    def entries(self, folder: str) -> dict[str, Entry]:
        """Files and folders directly in a folder, by name."""

    def files(self, folder: str) -> dict[str, Entry]:
        """All files below a folder, by their path relative to it."""

    def sha256(self, path: str, entry: Entry) -> str:
        """Digest of a file, which is read again only if it may have changed."""

    def publish(self, out: Path, folder: str, manifest: bytes) -> None:
        """Move the files in `out` to the folder's payload, replacing the old ones; the manifest is written last."""

    def fetch(self, folder: str, digest: str, files: dict[str, FileDigest]) -> Path:
        """A local folder with the payload of an artifact that was just verified."""

    def remove(self, folder: str) -> None:
        """Delete a folder with everything in it, its manifest first."""

"""Where a store lies: what it asks of a local disk (artifacts/local_backend.py) and of an object store (artifacts/remote_backend.py)."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

from artifacts.manifest import FileSeal


class Entry(NamedTuple):
    """One name in a folder, as a listing tells it."""

    size: int
    changed: float
    """Seconds since 1970."""
    stamp: str | None
    """The same as long as nobody wrote to the file; None where the place cannot tell."""


class Place(Protocol):
    """Files under one root. Paths are relative to it, with forward slashes; what is not there is None or empty."""

    name: str
    """The root, as people know it."""

    @property
    def scratch(self) -> Path:
        """Local folder for half-made things."""

    def prepare(self) -> None:
        """Make ready for the first write."""

    def read(self, path: str) -> bytes | None:
        """The bytes of a file."""

    def read_all(self, paths: Iterable[str]) -> dict[str, bytes]:
        """Those of several, in any order; absent ones are left out."""

    def write(self, path: str, content: bytes) -> None:
        """Replace a file, whole or not at all."""

    def create(self, path: str, content: bytes) -> bool:
        """Write a file that is not there yet, whole or not at all; False if it is there, whoever was first."""

    def delete(self, path: str) -> None:
        """Remove a file; nothing happens if it is gone."""

    def entries(self, folder: str) -> dict[str, Entry]:
        """What is in a folder."""

    def files(self, folder: str) -> dict[str, Entry]:
        """All files below a folder, by their path under it."""

    def sha256(self, path: str, entry: Entry) -> str:
        """Digest of a file; read again only if it may have changed."""

    def publish(self, out: Path, folder: str, manifest: bytes) -> None:
        """Move the files in `out` to the folder's payload, replacing what is there; the manifest comes last."""

    def fetch(self, folder: str, digest: str, files: dict[str, FileSeal]) -> Path:
        """A local folder with the payload of a folder, which was just verified."""

    def remove(self, folder: str) -> None:
        """Remove a folder with all that is in it, its manifest first."""


def sha256_of(file: Path) -> str:
    """sha256 of a local file, 64 hex digits."""
    with file.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()

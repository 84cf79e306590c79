"""Local files that are written completely or not at all, and their sha256."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """A hidden file beside `final` to write to: renamed to `final` if the block succeeds, else deleted."""
    final.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_sibling(final)
    try:
        yield temporary
        flush(temporary)
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_sibling(final: Path) -> Path:
    """A hidden name beside `final` that no other process uses."""
    return final.with_name(f".{final.name}.{uuid.uuid4().hex[:8]}")


def flush(path: Path) -> None:
    """fsync a file or folder, so that a later rename cannot reach the disk before its contents."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(file: Path) -> str:
    """sha256 of a local file, 64 hex digits."""
    with file.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()

"""The two ways in which work ends badly, and the exit code of each.

    Exception
    ├── RequestError   exit 2: what was asked cannot be done; nothing was lost, nothing started that needs cleaning
    └── StageError     exit 1: a stage began and failed
        └── NoRoomError    a disk is full; what was there before is whole

A message is one line: what was got, what was expected, what to do.
"""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


class RequestError(Exception):
    """The request was wrong (exit 2)."""

    exit_code = 2


class StageError(Exception):
    """A stage failed while working (exit 1)."""

    exit_code = 1


class NoRoomError(StageError):
    """There is no room to write."""


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """While something is written below a folder of the store: what the disk refuses becomes one line with the way out."""
    try:
        yield
    except (RequestError, NoRoomError):
        raise
    except Exception as error:
        # Arrow and safetensors have errors of their own, a worker's comes as text: all have the system's words
        if getattr(error, "errno", None) in FULL or any(os.strerror(code) in str(error) for code in FULL):
            free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free
            raise NoRoomError(
                f"no room to write in {folder}, where {free:,} bytes are free ({one_line(error, 160)}): make room, then give "
                "the same command again; what was finished is kept"
            ) from error
        if getattr(error, "errno", None) in CLOSED:
            raise RequestError(
                f"the store cannot be written in {folder} ({one_line(error, 160)}): mend it or set DIALOGSUM_STORE to another"
            ) from error
        raise


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest known name, or the list of them all."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(names)}"


def one_line(text: object, limit: int = 400) -> str:
    """`text` on one line, control characters removed, at most `limit` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"

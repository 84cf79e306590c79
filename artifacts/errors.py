"""The ways in which a command fails, and the exit code of each.

    Exception
    ├── RequestError         exit 2: the request cannot be carried out; nothing was lost and nothing needs cleaning up
    ├── StageError           exit 1: a stage started and failed
    │   └── DiskFullError    the disk is full; files that existed before are intact
    └── UnmetConditionError  exit 3: the evaluation is complete and does not meet a condition of `--require`

A message is one line: what was got, what was expected, what to do.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from artifacts.text import one_line

DISK_FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
WRITE_REFUSED_ERRNOS = (errno.EACCES, errno.EPERM, errno.EROFS)


class RequestError(Exception):
    """The request was wrong (exit 2)."""

    exit_code = 2


class StageError(Exception):
    """A stage failed while it ran (exit 1)."""

    exit_code = 1


class UnmetConditionError(Exception):
    """An evaluation does not meet a required condition (exit 3)."""

    exit_code = 3


class DiskFullError(StageError):
    """There is no space left to write."""


@contextmanager
def translate_disk_errors(folder: Path) -> Iterator[None]:
    """Turn disk errors below a folder of the store into one line with a remedy: DiskFullError or RequestError."""
    try:
        yield
    except (RequestError, DiskFullError):
        raise
    except Exception as error:
        # Arrow and safetensors raise their own classes and workers send text, but all carry the system's message
        if getattr(error, "errno", None) in DISK_FULL_ERRNOS or any(
            os.strerror(code) in str(error) for code in DISK_FULL_ERRNOS
        ):
            free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
            raise DiskFullError(
                f"the disk is full: {folder} has {free:,} bytes free ({one_line(error, 160)}): free some space and run "
                "the same command again; finished work is kept"
            ) from error
        if getattr(error, "errno", None) in WRITE_REFUSED_ERRNOS:
            raise RequestError(
                f"the store cannot be written in {folder} ({one_line(error, 160)}): fix its permissions, or point "
                "DIALOGSUM_STORE to another store"
            ) from error
        raise

"""Rotation of the logs of a station's processes: server.log, server.log.1, and so on.

A process appends to its log (processes.py), so that the log can be copied and then emptied while the process runs.
"""

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

from artifacts.atomic_files import atomic_path

LIMIT = 1 << 20
"""Bytes from which a log is rotated."""
KEPT = 3
"""Former logs of each process."""


def rotate_logs(folder: Path) -> list[str]:
    """Rotate the logs in the folder of a station that have reached LIMIT. Returns their names."""
    return [log.name for log in sorted(folder.glob("*.log")) if rotate(log)]


def rotate(log: Path) -> bool:
    """Rotate one log if it has reached LIMIT.

    What its process writes in the microseconds between the last copy and the emptying is lost.
    """
    if not log.is_file() or log.stat().st_size < LIMIT:
        return False
    for number in range(KEPT - 1, 0, -1):
        with suppress(FileNotFoundError):
            former(log, number).replace(former(log, number + 1))
    with log.open("rb") as source, former(log, 1).open("wb") as copy:
        shutil.copyfileobj(source, copy)
        _shift_start(log, copy.tell())
        shutil.copyfileobj(source, copy)  # what was written meanwhile
        os.truncate(log, 0)
    return True


def former(log: Path, number: int = 1) -> Path:
    """The log before the last rotation, or an earlier one."""
    return log.with_name(f"{log.name}.{number}")


def _shift_start(log: Path, size: int) -> None:
    """Note where in the former log its process began to write, as a negative number: the distance to the end."""
    note = log.with_name(f"{log.stem}.process.json")
    with suppress(FileNotFoundError):
        record = json.loads(note.read_text())
        with atomic_path(note) as temporary:
            temporary.write_text(json.dumps(record | {"log_start": max(0, record.get("log_start", 0)) - size}))

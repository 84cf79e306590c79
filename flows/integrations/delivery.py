"""The process that sends what a run reports to one tracker: `python -m flows.integrations.delivery TRACKER SPOOL PID`.

The run (process PID) appends lines to the spool file and never waits. This process follows the file until it has an
end or the run has died, sends what is left, and deletes the file. A line is one of:

    {"points": {"artifact": "train-1a2b3c4d", "step": 8, "values": {"train_loss": 2.1}}}
    {"finished": "train-1a2b3c4d"}    {"end": true}
"""

import faulthandler
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from artifacts.artifact_store import Store
from flows.integrations.outbox import reason, send_waiting
from flows.integrations.tracker import Tracker, find_tracker

POLL_SECONDS = 1.0
LAST_SECONDS = 120.0
"""Time to send what is left after the end of the run. Then the process is killed, and what it has not sent waits."""


def follow(name: str, tracker: Tracker, spool: Path, parent: int) -> None:
    """Send what the spool reports until its end; write problems beside it, for the log of the run."""
    warnings, told, position, over = spool.with_suffix(".warnings"), set[str](), 0, False
    while not over:
        died = os.getppid() != parent  # before reading, so that nothing is missed
        lines, position = _read(spool, position)
        over = died or any("end" in line for line in lines)
        if over:
            faulthandler.dump_traceback_later(LAST_SECONDS, exit=True)
            spool.unlink()
            warnings.unlink(missing_ok=True)
        problems = [problem for problem in _deliver(name, tracker, lines, over) if problem not in told]
        if not over:
            if problems:
                with warnings.open("a") as file:
                    file.writelines(f"{problem}\n" for problem in problems)
            told.update(problems)
            time.sleep(POLL_SECONDS)


def _read(spool: Path, position: int) -> tuple[list[dict[str, Any]], int]:
    """The complete lines after `position`, and the position after them."""
    with spool.open("rb") as file:
        file.seek(position)
        complete, _, _ = file.read().rpartition(b"\n")
    return [json.loads(line) for line in complete.splitlines()], position + len(complete) + bool(complete)


def _deliver(name: str, tracker: Tracker, lines: list[dict[str, Any]], over: bool) -> list[str]:
    """Send points and finished runs. Returns what went wrong, in words."""
    curves: dict[str, dict[int, dict[str, float]]] = {}
    for point in (line["points"] for line in lines if "points" in line):
        values = {f"curve/{column}": value for column, value in point["values"].items()}
        curves.setdefault(point["artifact"], {}).setdefault(point["step"], {}).update(values)
    problems = []
    try:
        for artifact, points in curves.items():
            tracker.add_points(tracker.opened(artifact, artifact), points)
    except Exception as error:
        problems.append(f"{name}: the curve cannot be followed ({reason(error)})")
    try:
        if over or any("finished" in line for line in lines):
            status = send_waiting(Store.current(), name, tracker)
            problems += [f"{name}: {status.problem}"] if status.waiting else []
        if over:
            tracker.close()
    except Exception as error:
        problems.append(f"{name}: {reason(error)}")
    return problems


if __name__ == "__main__":
    follow(sys.argv[1], find_tracker(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))

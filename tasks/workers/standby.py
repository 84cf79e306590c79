"""A worker with its imports behind it, started while another stage runs: a GPU does not wait for Python.

The parent starts `python -m tasks.workers.standby`, which imports what workers import and waits; a line on its standard input says
what to do. Without a GPU there is none: on a CPU the imports would only take cores from the stage that runs.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable

from tasks.workers.gpus import visible_gpus

WORKERS = ("tasks.training.worker", "tasks.decoding.worker")


class Spare:
    """At most one waiting process."""

    def __init__(self) -> None:
        self.waiting: subprocess.Popen[str] | None = None
        self.wanted = False

    def want(self, wanted: bool, start: Callable[[list[str]], subprocess.Popen[str]]) -> None:
        """Whether another worker will follow; if so, one is started unless it waits already."""
        self.wanted = wanted and visible_gpus() > 0
        if self.wanted and (self.waiting is None or self.waiting.poll() is not None):
            self.waiting = start(["-m", "tasks.workers.standby"])

    def take(self, command: list[str], start: Callable[[list[str]], subprocess.Popen[str]]) -> subprocess.Popen[str]:
        """A process that runs `-m MODULE CONFIG.json`: the waiting one, else a new one."""
        process, self.waiting = self.waiting, None
        if command[0] != "-m" or command[1] not in WORKERS:
            self.waiting, process = process, None
        if process is None or process.poll() is not None or not _told(process, command[1:]):
            process = start(command)
        if self.wanted:
            self.want(True, start)
        return process

    def drop(self) -> None:
        """End the waiting process: its standard input closes."""
        if self.waiting is not None:
            self.waiting.communicate()
        self.waiting, self.wanted = None, False


def _told(process: subprocess.Popen[str], command: list[str]) -> bool:
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(command) + "\n")
        process.stdin.flush()
    except OSError:  # it died meanwhile
        return False
    return True


def main() -> None:
    """Import, wait for the line, be that worker. Ends without a word if the parent ends first."""
    from tasks.decoding import worker as decoding_worker
    from tasks.training import worker as training_worker
    from tasks.workers.launcher import be_worker

    line = b""
    while not line.endswith(b"\n"):  # byte by byte: what follows is for the watch on the parent
        byte = os.read(0, 1)
        if not byte:
            return
        line += byte
    module, config = json.loads(line)
    sys.argv = [module, config]
    be_worker({"tasks.training.worker": training_worker.work, "tasks.decoding.worker": decoding_worker.work}[module])


if __name__ == "__main__":
    main()

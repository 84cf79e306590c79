"""A standby worker: a process that has imported the libraries before its work is known, so that no GPU waits for them.

The process (tasks/workers/standby_main.py) is started while another stage runs. Without a GPU there is none: on a CPU
its imports would take cores from the stage that runs.
"""

import json
import subprocess
from collections.abc import Sequence
from contextvars import ContextVar, Token
from pathlib import Path

from tasks.workers.gpus import visible_gpus
from tasks.workers.processes import start_process

_current: ContextVar["StandbyWorker | None"] = ContextVar("standby_worker", default=None)


def current_standby() -> "StandbyWorker | None":
    """The standby worker of the run that this code belongs to, if it has one."""
    return _current.get()


class StandbyWorker:
    """At most one waiting process. Inside of `with standby:` tasks.workers.launcher gives it work."""

    def __init__(self, modules: Sequence[str]) -> None:
        """`modules`: the worker modules that the process imports and can run."""
        self.modules = tuple(modules)
        self.process: subprocess.Popen[str] | None = None
        self.expected = False
        self._token: Token[StandbyWorker | None] | None = None

    def __enter__(self) -> "StandbyWorker":
        self._token = _current.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()
        if self._token is not None:
            _current.reset(self._token)

    def request(self, expected: bool) -> None:
        """Declare whether another worker will follow. If so, and there is a GPU, a process waits for it from now on."""
        self.expected = expected and visible_gpus() > 0
        if self.expected and (self.process is None or self.process.poll() is not None):
            self.process = start_process(["-m", "tasks.workers.standby_main", *self.modules])

    def claim(self, module: str, config_file: Path) -> subprocess.Popen[str] | None:
        """Let the waiting process run `module` on the config, and start another if one is expected.

        None if no process waits, if it has died, or if it cannot run `module`.
        """
        if module not in self.modules:
            return None
        process, self.process = self.process, None
        if process is not None and (
            process.poll() is not None or not _send_command(process, [module, str(config_file)])
        ):
            process = None
        self.request(self.expected)
        return process

    def discard(self) -> None:
        """End the waiting process by closing its standard input."""
        if self.process is not None:
            self.process.communicate()
        self.process, self.expected = None, False


def _send_command(process: subprocess.Popen[str], command: list[str]) -> bool:
    """Whether the process received the command."""
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(command) + "\n")
        process.stdin.flush()
    except OSError:  # it has died
        return False
    return True

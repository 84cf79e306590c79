"""Start and stop worker processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from artifacts.artifact_store import Store
from artifacts.code_fingerprint import ROOT
from tasks.workers.worker_main import PARENT_VARIABLE

QUIET_ENVIRONMENT = {
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore::FutureWarning",  # one library of the stack warns about another
}
"""Keeps the libraries from drawing progress bars: the terminal shows ours, and logs have lines."""
DEFAULT_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Used unless the environment sets it. Threads that spin while they wait for each other take the cores from the threads
that they wait for, where other processes are at work: `dialogsum bench busy`."""
STOP_SECONDS = 15.0
"""Time between asking a worker to stop and killing it."""


def start_process(command: Sequence[str], extra_env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    """Run `python COMMAND…` in a session of its own, with a pipe as standard input and standard error in its output."""
    environment = DEFAULT_ENVIRONMENT | os.environ | QUIET_ENVIRONMENT
    environment |= {PARENT_VARIABLE: "1", "PYTHONUNBUFFERED": "1"} | dict(extra_env or {})
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment["DIALOGSUM_STORE"] = str(Store.current().root)  # a relative path would mean another folder there
    return subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        cwd=ROOT,
        start_new_session=True,
    )


def stop_processes(processes: Sequence[subprocess.Popen[str]]) -> None:
    """End the process groups that still run: SIGTERM first, SIGKILL after STOP_SECONDS."""
    for stop_signal, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, None)):
        running = [process for process in processes if process.poll() is None]
        for process in running:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, stop_signal)
        deadline = time.monotonic() + (seconds or 0)
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(None if seconds is None else max(0.0, deadline - time.monotonic()))
    for process in processes:
        if process.stdin:
            process.stdin.close()

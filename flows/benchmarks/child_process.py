"""One process for each measured system: time limit, peak memory, and a failure that is one line.

Children import this module before anything else, so it imports little.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from artifacts.text import one_line
from tasks.workers.processes import DEFAULT_ENVIRONMENT
from tasks.workers.worker_main import end_with_parent

ROOT = Path(__file__).resolve().parent.parent.parent


class ChildFailedError(Exception):
    """A system did not finish; the message is the reason."""


def run_child(
    module: str, config: dict[str, Any], folder: Path, timeout: float, only_path: str | None = None, **variables: str
) -> dict[str, Any]:
    """Run `python -m flows.benchmarks.MODULE CONFIG.json`.

    Args:
        module: dotted name below flows.benchmarks.
        config: what the child's main function gets.
        folder: for the configuration, the result and the log.
        timeout: seconds after which the child is killed.
        only_path: folder to import packages from, instead of those in PYTHONPATH.
        variables: further environment variables.

    Returns the child's result, with its wall time in seconds and its peak resident memory in GiB. ChildFailedError if
    the child fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{module}-{len(list(folder.glob('*.json')))}"
    file, result_file, log = folder / f"{name}.json", folder / f"{name}.result", folder / f"{name}.log"
    file.write_text(json.dumps(config | {"result_file": str(result_file)}))
    path = os.pathsep.join(filter(None, [str(ROOT), only_path or os.environ.get("PYTHONPATH")]))
    environment = DEFAULT_ENVIRONMENT | os.environ  # as our workers have it
    environment |= {"PYTHONPATH": path, "TQDM_DISABLE": "1", "PYTHONUNBUFFERED": "1"} | variables
    started = time.perf_counter()
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", f"flows.benchmarks.{module}", str(file)],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=ROOT,
            start_new_session=True,
        )
        with _PeakMemory(process.pid) as memory:
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise ChildFailedError(f"stopped after {timeout:g} s; see {log}") from None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if process.stdin:
                    process.stdin.close()
    seconds = time.perf_counter() - started
    result: dict[str, Any] = json.loads(result_file.read_text()) if result_file.is_file() else {}
    if reason := result.get("failed"):
        raise ChildFailedError(reason)
    if code or not result:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise ChildFailedError(f"exit code {code}: {one_line(lines[-1] if lines else 'it printed nothing', 200)}")
    return result | {"wall_seconds": round(seconds, 2), "peak_ram_gib": round(memory.peak_bytes / 2**30, 2)}


def child_main(measure: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Main function of a child: write the result of `measure(config)`, or the reason of its failure."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    config = json.loads(Path(sys.argv[1]).read_text())
    try:
        result = measure(config)
    except Exception as error:
        traceback.print_exc()
        result = {"failed": one_line(f"{type(error).__name__}: {error}", 200)}
    Path(config["result_file"]).write_text(json.dumps(result))
    sys.exit(0)


class _PeakMemory:
    """Peak resident memory of a process and its descendants, sampled twice a second."""

    def __init__(self, pid: int) -> None:
        self.pid, self.peak_bytes, self.stop = pid, 0, threading.Event()
        self.thread = threading.Thread(target=self._sample, daemon=True)

    def _sample(self) -> None:
        import psutil

        while not self.stop.wait(0.5):
            with contextlib.suppress(psutil.Error):
                root = psutil.Process(self.pid)
                total = 0
                for process in (root, *root.children(recursive=True)):
                    with contextlib.suppress(psutil.Error):
                        total += process.memory_info().rss
                self.peak_bytes = max(self.peak_bytes, total)

    def __enter__(self) -> "_PeakMemory":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

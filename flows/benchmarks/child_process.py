"""One system, one process: bounded in time, memory watched, its failure a sentence and never the end of the benchmark.

Children import this before anything else, so it imports next to nothing.
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

from artifacts.errors import one_line
from tasks.workers.worker_main import end_with_parent

ROOT = Path(__file__).resolve().parent.parent.parent


class FailedError(Exception):
    """A system did not finish; the message is its last word."""


def run_child(
    module: str, config: dict[str, Any], folder: Path, timeout: float, only_path: str | None = None, **variables: str
) -> dict[str, Any]:
    """`python -m flows.benchmarks.MODULE CONFIG.json`; what it answers, with its wall time and most memory in RAM.

    only_path: the folder that its packages come from, in place of what PYTHONPATH names. FailedError with the reason.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{module}-{len(list(folder.glob('*.json')))}"
    file, answer, log = folder / f"{name}.json", folder / f"{name}.answer", folder / f"{name}.log"
    file.write_text(json.dumps(config | {"answer": str(answer)}))
    path = os.pathsep.join(filter(None, [str(ROOT), only_path or os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "TQDM_DISABLE": "1", "PYTHONUNBUFFERED": "1"} | variables
    started = time.perf_counter()
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", f"flows.benchmarks.{module}", str(file)], stdin=subprocess.PIPE, stdout=out,
            stderr=subprocess.STDOUT, env=environment, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
        with _Memory(process.pid) as memory:
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                raise FailedError(f"stopped after {timeout:g} s; see {log}") from None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                if process.stdin:
                    process.stdin.close()
    seconds = time.perf_counter() - started
    found: dict[str, Any] = json.loads(answer.read_text()) if answer.is_file() else {}
    if reason := found.get("failed"):
        raise FailedError(reason)
    if code or not found:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        raise FailedError(f"ended with code {code}: {one_line(lines[-1] if lines else 'it said nothing', 200)}")
    return found | {"wall_seconds": round(seconds, 2), "peak_ram_gib": round(memory.most / 2**30, 2)}


def be_child(work: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The child's main: `work(config) -> answer`."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    config = json.loads(Path(sys.argv[1]).read_text())
    try:
        found = work(config)
    except Exception as error:
        traceback.print_exc()
        found = {"failed": one_line(f"{type(error).__name__}: {error}", 200)}
    Path(config["answer"]).write_text(json.dumps(found))
    sys.exit(0)


class _Memory:
    """Largest resident memory of a process with all below it, looked at twice a second."""

    def __init__(self, pid: int) -> None:
        self.pid, self.most, self.over = pid, 0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        import psutil

        while not self.over.wait(0.5):
            with contextlib.suppress(psutil.Error):
                root = psutil.Process(self.pid)
                together = 0
                for process in (root, *root.children(recursive=True)):
                    with contextlib.suppress(psutil.Error):
                        together += process.memory_info().rss
                self.most = max(self.most, together)

    def __enter__(self) -> "_Memory":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

"""Run worker processes: start them, follow their events, and stop them if one fails.

A worker runs the model in a process of its own, so it can be killed, be given several GPUs, or be run by hand
(`python -m tasks.decoding.worker CONFIG.json`), and it imports no Prefect. It reports events as JSON lines on standard
output (tasks/workers/events.py); every other line that it prints becomes a log line.
"""

import json
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from artifacts.errors import RequestError, StageError
from artifacts.record import Record
from artifacts.text import one_line
from tasks.workers.events import EVENT_PREFIX, Events
from tasks.workers.processes import start_process, stop_processes
from tasks.workers.standby import current_standby

IGNORED_LINES = ("Failed to load CPU gemm_4bit_forward",)
"""Starts of log lines that are dropped: bitsandbytes looks for a faster kernel on the hub, which is not needed."""
ResultT = TypeVar("ResultT", bound=Record)


def run_workers(
    module: str,
    configs: Sequence[Record],
    result_type: type[ResultT],
    folder: Path,
    events: Events,
    environments: Sequence[Mapping[str, str]] = (),
    launch: Sequence[str] = (),
) -> list[ResultT]:
    """Run `python -m MODULE CONFIG.json` once for each config, all at the same time. Returns their results in order.

    Their progress is added up. Config files are written to `folder`.

    environments: additions to the environment of each worker.
    launch: arguments of Python before `-m MODULE`, such as those of accelerate.

    RequestError or StageError as the worker reports; StageError with its last line if it ends without a result. If one
    worker fails, the others are stopped.
    """
    workers: list[_Worker] = []
    lines: SimpleQueue[tuple[_Worker, str | None]] = SimpleQueue()
    try:
        for i, config in enumerate(configs):
            file = folder / f"{module.rsplit('.', 1)[-1]}{f'-{i}' if len(configs) > 1 else ''}.json"
            file.write_text(json.dumps(config.model_dump(mode="json"), indent=1))
            workers.append(_Worker(_start_worker(module, file, environments[i] if environments else {}, launch)))
            threading.Thread(target=_read_lines, args=(workers[-1], lines), daemon=True).start()
        while any(worker.result is None or not worker.ended for worker in workers):
            worker, line = lines.get()
            worker.handle_line(line, events, workers)
    finally:
        stop_processes([worker.process for worker in workers])
    return [result_type.model_validate(worker.result) for worker in workers]


def _start_worker(
    module: str, file: Path, extra_env: Mapping[str, str], launch: Sequence[str]
) -> subprocess.Popen[str]:
    """The standby process of the run if it can take this work, else a new process."""
    standby = current_standby()
    process = standby.claim(module, file) if standby and not extra_env and not launch else None
    return process or start_process([*launch, "-m", module, str(file)], extra_env)


@dataclass
class _Worker:
    """A process and the events that it has reported so far."""

    process: subprocess.Popen[str]
    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    progress: tuple[int, int] | None = None
    result: dict[str, Any] | None = None
    ended: bool = False

    def handle_line(self, line: str | None, events: Events, workers: Sequence["_Worker"]) -> None:
        """Handle one line of its output, None at the end of it. `workers` are all that run at the same time."""
        if line is None:
            self._check_exit()
        elif line.startswith(EVENT_PREFIX):
            try:
                event = json.loads(line.removeprefix(EVENT_PREFIX))
            except ValueError:  # the worker died while it wrote
                self.last_lines.append(line.strip())
            else:
                self.handle_event(event, events, workers)
        elif line.strip() and not line.startswith(IGNORED_LINES):
            self.last_lines.append(line.strip())
            events.log(one_line(line))

    def handle_event(self, event: dict[str, Any], events: Events, workers: Sequence["_Worker"]) -> None:
        match event["event"]:
            case "progress":
                self.progress = event["completed"], event["total"]
                reported = [worker.progress for worker in workers if worker.progress]
                if len(reported) == len(workers):  # the total is known once every worker has reported
                    note = event["note"] + (" each" if len(reported) > 1 and event["note"] else "")
                    completed, totals = zip(*reported, strict=True)
                    events.progress(sum(completed), sum(totals), note)
            case "log":
                events.log(event["line"])
            case "metrics":
                events.metrics(event["step"], event["values"])
            case "result":
                self.result = event["result"]
            case "error":
                raise (RequestError if event["kind"] == "request" else StageError)(event["message"])

    def _check_exit(self) -> None:
        """Raise a StageError unless the process ended with code 0 and a result."""
        self.ended, code = True, self.process.wait()
        if code or self.result is None:
            end = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            last_line = one_line(self.last_lines[-1]) if self.last_lines else "none"
            raise StageError(f"the worker {end}; its last line: {last_line}")


def _read_lines(worker: _Worker, lines: "SimpleQueue[tuple[_Worker, str | None]]") -> None:
    """Put the worker's lines into the queue: the thread that called `run_workers` handles those of all workers."""
    assert worker.process.stdout is not None
    with worker.process.stdout as output:
        for line in output:
            lines.put((worker, line))
    lines.put((worker, None))

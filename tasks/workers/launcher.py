"""Processes of their own for work on the model: started, listened to and, if need be, stopped here.

A worker can be killed, given several GPUs and run by hand (`python -m tasks.decoding.worker CONFIG.json`), and it imports
no Prefect. It says what it does in JSON lines on standard output (tasks/workers/events.py); all else it prints is a log line.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any, NoReturn

from artifacts.artifact_store import Store
from artifacts.code_fingerprint import ROOT
from artifacts.errors import RequestError, StageError, one_line
from tasks.workers.events import MARK, Events, Spoken, say
from tasks.workers.standby import Spare

PARENT = "DIALOGSUM_PARENT"
QUIET = {
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore::FutureWarning",  # of one library of the stack about another
}
"""No library draws a bar of its own: a terminal has ours, and logs have lines."""
NOISE = ("Failed to load CPU gemm_4bit_forward",)
"""Lines that say nothing to anybody: bitsandbytes looks for a faster kernel on the hub, which is not needed."""
SPARE = Spare()
GRACE = 15.0
"""Seconds between asking a worker to stop and killing it."""


def run_worker(command: Sequence[str], config: dict[str, Any], work: Path, events: Events) -> dict[str, Any]:
    """Run `python COMMAND… CONFIG.json` to its end and return what it reports.

    RequestError or StageError as the worker says; StageError with its last line if it dies without a word.
    """
    return run_workers(command, [config], work, events)[0]


def run_workers(
    command: Sequence[str], configs: Sequence[dict[str, Any]], work: Path, events: Events,
    environments: Sequence[Mapping[str, str]] = (),
) -> list[dict[str, Any]]:  # fmt: skip
    """One worker a config, all at once, each with its own additions to the environment. Their progress is added up.

    Returns what they report. If one fails the others are stopped, and the error is that of `run_worker`.
    """
    workers: list[_Worker] = []
    said: SimpleQueue[tuple[_Worker, str | None]] = SimpleQueue()
    try:
        for i, config in enumerate(configs):
            file = work / f"{command[-1].rsplit('.', 1)[-1]}{f'-{i}' if len(configs) > 1 else ''}.json"
            file.write_text(json.dumps(config, indent=1))
            more = environments[i] if environments else {}
            process = _start([*command, str(file)], more) if more else SPARE.take([*command, str(file)], _start)
            workers.append(_Worker(process))
            threading.Thread(target=_forward, args=(workers[-1], said), daemon=True).start()
        while any(worker.result is None or not worker.ended for worker in workers):
            worker, line = said.get()
            worker.hear(line, events, workers)
    finally:
        _stop([worker.process for worker in workers])
    return [worker.result or {} for worker in workers]


def expect_workers(expected: bool) -> None:
    """Whether another worker will follow the stage that is about to run: its imports can be done meanwhile."""
    SPARE.want(expected, _start)


def no_more_workers() -> None:
    """End the one that was started ahead, if it waits still."""
    SPARE.drop()


def _start(command: Sequence[str], more: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    environment = (
        os.environ | QUIET | {PARENT: "1", "PYTHONUNBUFFERED": "1", "PYTHONPATH": _python_path()} | dict(more or {})
    )
    environment["DIALOGSUM_STORE"] = str(Store.current().root)  # a relative one would mean another folder there
    return subprocess.Popen(
        [sys.executable, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", env=environment, cwd=ROOT, start_new_session=True,
    )  # fmt: skip


def _python_path() -> str:
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


@dataclass
class _Worker:
    """A process and what it has said so far."""

    process: subprocess.Popen[str]
    last: deque[str] = field(default_factory=lambda: deque(maxlen=20))
    progress: tuple[int, int] | None = None
    result: dict[str, Any] | None = None
    ended: bool = False

    def hear(self, line: str | None, events: Events, all_of_them: Sequence["_Worker"]) -> None:
        """One line of it, None at its end."""
        if line is None:
            self.end()
        elif line.startswith(MARK):
            try:
                event = json.loads(line.removeprefix(MARK))
            except ValueError:  # the worker died while it spoke
                self.last.append(line.strip())
            else:
                self.obey(event, events, all_of_them)
        elif line.strip() and not line.startswith(NOISE):
            self.last.append(line.strip())
            events.log(one_line(line))

    def obey(self, event: dict[str, Any], events: Events, all_of_them: Sequence["_Worker"]) -> None:
        match event.pop("event"):
            case "progress":
                self.progress = event["done"], event["total"]
                heard = [worker.progress for worker in all_of_them if worker.progress]
                if len(heard) == len(all_of_them):  # the total is known once all have said theirs
                    note = event["note"] + (" each" if len(heard) > 1 and event["note"] else "")
                    events.progress(sum(done for done, _ in heard), sum(total for _, total in heard), note)
            case "log":
                events.log(event["line"])
            case "result":
                self.result = event
            case "error":
                raise (RequestError if event["kind"] == "request" else StageError)(event["message"])

    def end(self) -> None:
        """StageError unless it ended well."""
        self.ended, code = True, self.process.wait()
        if code or self.result is None:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            raise StageError(f"the worker {how}; its last line: {one_line(self.last[-1]) if self.last else 'none'}")


def _forward(worker: _Worker, said: "SimpleQueue[tuple[_Worker, str | None]]") -> None:
    """Lines into the queue: whoever listens does so in the thread that asked, and hears all workers."""
    assert worker.process.stdout is not None
    with worker.process.stdout as lines:
        for line in lines:
            said.put((worker, line))
    said.put((worker, None))


def _stop(processes: Sequence[subprocess.Popen[str]]) -> None:
    """End what is left of the workers: politely, then not."""
    for how, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        left = [process for process in processes if process.poll() is None]
        for process in left:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, how)
        until = time.monotonic() + (patience or 0)
        for process in left:
            with suppress(subprocess.TimeoutExpired):
                process.wait(None if patience is None else max(0.0, until - time.monotonic()))
    for process in processes:
        if process.stdin:
            process.stdin.close()


def be_worker(work: Callable[[dict[str, Any], Events], dict[str, Any]]) -> NoReturn:
    """The worker's main: `work(config, events) -> what to report`. Exit 0, 1 (stage failed) or 2 (request was wrong)."""
    if os.environ.get(PARENT):
        threading.Thread(target=_end_with_parent, daemon=True).start()
    first = os.environ.get("RANK", "0") == "0"
    events = Spoken()
    try:
        result = work(json.loads(Path(sys.argv[1]).read_text()), events)
    except (RequestError, StageError) as error:
        say("error", kind="request" if isinstance(error, RequestError) else "stage", message=str(error))
        sys.exit(error.exit_code)
    except Exception as error:
        traceback.print_exc()
        say("error", kind="stage", message=one_line(f"{type(error).__name__}: {error}"))
        sys.exit(1)
    if first:
        say("result", **result)
    sys.exit(0)


def _end_with_parent() -> None:
    """Standard input is a pipe that only the parent holds: its end means that the parent is gone."""
    while os.read(0, 1024):  # not sys.stdin: its lock would be held at the interpreter's end
        pass
    os._exit(1)

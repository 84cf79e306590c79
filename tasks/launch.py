"""A process of its own for work on the model: started, listened to and, if need be, stopped here.

It can be killed, given several GPUs and run by hand (`python -m tasks.generate_worker CONFIG.json`), and it imports no
Prefect. It says what it does in JSON lines on standard output (tasks/events.py); all else it prints is a log line.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from artifacts.errors import RequestError, StageError, one_line
from artifacts.fingerprint import ROOT
from artifacts.store import Store
from tasks.events import MARK, Events, Spoken, say

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
GRACE = 15.0
"""Seconds between asking a worker to stop and killing it."""


def run_worker(command: Sequence[str], config: dict[str, Any], work: Path, events: Events) -> dict[str, Any]:
    """Run `python COMMAND… CONFIG.json` to its end and return what it reports.

    RequestError or StageError as the worker says; StageError with its last line if it dies without a word.
    """
    file = work / f"{command[-1].rsplit('.', 1)[-1]}.json"
    file.write_text(json.dumps(config, indent=1))
    environment = os.environ | QUIET | {PARENT: "1", "PYTHONUNBUFFERED": "1", "PYTHONPATH": _python_path()}
    environment["DIALOGSUM_STORE"] = str(Store.current().root)  # a relative one would mean another folder there
    process = subprocess.Popen(
        [sys.executable, *command, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", env=environment, cwd=ROOT, start_new_session=True,
    )  # fmt: skip
    try:
        return _listen(process, events)
    finally:
        _stop(process)


def _python_path() -> str:
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def _listen(process: subprocess.Popen[str], events: Events) -> dict[str, Any]:
    result: dict[str, Any] | None = None
    last: deque[str] = deque(maxlen=20)
    assert process.stdout is not None
    for line in process.stdout:
        if not line.startswith(MARK):
            if line.strip() and not line.startswith(NOISE):
                last.append(line.strip())
                events.log(one_line(line))
            continue
        try:
            said = json.loads(line.removeprefix(MARK))
        except ValueError:  # the worker died while it spoke
            last.append(line.strip())
            continue
        match said.pop("event"):
            case "progress":
                events.progress(**said)
            case "log":
                events.log(said["line"])
            case "result":
                result = said
            case "error":
                raise (RequestError if said["kind"] == "request" else StageError)(said["message"])
    code = process.wait()
    if code or result is None:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        raise StageError(f"the worker {how}; its last line: {one_line(last[-1]) if last else 'none'}")
    return result


def _stop(process: subprocess.Popen[str]) -> None:
    """End what is left of the worker: politely, then not."""
    for how, patience in ((signal.SIGTERM, GRACE), (signal.SIGKILL, None)):
        if process.poll() is None:
            try:
                os.killpg(process.pid, how)
                process.wait(patience)
            except ProcessLookupError:
                process.wait()
            except subprocess.TimeoutExpired:
                continue
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()


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

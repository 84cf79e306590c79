"""A worker's result, words and death all reach the one who started it, and it never outlives him."""

import json
import os
import select
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import RequestError, StageError
from artifacts.record import Record
from tasks.workers import processes
from tasks.workers.launcher import run_workers
from tests.support.paths import ROOT

WORKER = """
import os, signal, sys, threading
from artifacts.errors import RequestError, StageError
from artifacts.manifest import Record
from tasks.workers.worker_main import worker_main

class Values(Record):
    values: dict

def body(config, events):
{body}

def run(config, events):
    return Values(values=body(config.values, events))

if __name__ == "__main__":
    worker_main(run, Values)
"""
PATIENCE = 30.0
"""Seconds that a test waits at most for what must happen at once."""


class Values(Record):
    """Config and result of these workers: anything that JSON can hold."""

    values: dict[str, Any]


class RecordingEvents:
    """Records the events of a worker."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int, str]] = []
        self.lines: list[str] = []

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.steps.append((done, total, note))

    def log(self, line: str) -> None:
        self.lines.append(line)

    def metrics(self, step: int, values: dict[str, float]) -> None: ...


class WorkerRunner:
    """Writes worker modules and runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.heard = folder, RecordingEvents()
        (folder / "work").mkdir()

    def write(self, body: str, name: str = "some_worker") -> str:
        """The module of a worker whose `body(config, events)` is this."""
        text = WORKER.format(body=textwrap.indent(textwrap.dedent(body).strip(), "    "))
        (self.folder / f"{name}.py").write_text(text)
        return name

    def run(self, body: str, **config: Any) -> dict[str, Any]:
        return several(self, body, config)[0]

    def by_hand(self, body: str) -> subprocess.CompletedProcess[str]:
        """The worker started without anybody listening, as a person would."""
        module = self.write(body)
        (self.folder / "by_hand.json").write_text('{"values": {}}')
        environment = {name: value for name, value in os.environ.items() if name != "DIALOGSUM_PARENT"}
        return subprocess.run(
            [sys.executable, "-m", module, str(self.folder / "by_hand.json")],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerRunner:
    """Workers in a folder of their own, on the path of new processes."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    return WorkerRunner(tmp_path)


def test_result_is_what_the_worker_returns(runner: WorkerRunner) -> None:
    """The config goes in and the result comes out as they are: nested, numbers exact, any character."""
    config = {"nested": {"list": [1, 2.5, None, True]}, "text": "ä\n\u2028\x00\U0001f600 @dialogsum {", "tiny": 5e-324}
    assert runner.run("return {'got': config, 'other': os.getpid()}", **config)["got"] == config


def test_a_large_result_arrives_completely(runner: WorkerRunner) -> None:
    """A result longer than a pipe holds is read to its end."""
    assert runner.run("return {'text': 'x' * 1_000_000}") == {"text": "x" * 1_000_000}


def test_progress_and_log_lines_arrive_in_order(runner: WorkerRunner) -> None:
    """The listener hears each step and each line, printed ones and those of standard error included."""
    runner.run("""
        events.progress(0, 2, "loading")
        events.log("said")
        print("printed", flush=True)
        print("on standard error", file=sys.stderr, flush=True)
        os.write(1, b"bytes \\xff\\n")
        sys.stdout.write("unfinished line")
        events.progress(2, 2)
        return {}
    """)
    assert runner.heard.steps == [(0, 2, "loading"), (2, 2, "")]
    assert runner.heard.lines == ["said", "printed", "on standard error", "bytes \ufffd", "unfinished line"]


@pytest.mark.parametrize(("kind", "code"), [(RequestError, 2), (StageError, 1)])
def test_errors_of_ours_keep_their_kind_and_words(runner: WorkerRunner, kind: type[Exception], code: int) -> None:
    """A RequestError and a StageError keep their class, which the exit code of the worker determines."""
    body = f"raise {kind.__name__}('got “x”, expected y')"
    with pytest.raises(kind, match=r"^got “x”, expected y$"):
        runner.run(body)
    assert runner.by_hand(body).returncode == code


def test_unexpected_exception_becomes_one_line(runner: WorkerRunner) -> None:
    """A crash is a StageError of one line with the exception's name; the traceback goes to the log."""
    body = "raise ValueError('first\\nsecond\\x1b[31m')"
    with pytest.raises(StageError) as failure:
        runner.run(body)
    message = str(failure.value)
    assert message.startswith("ValueError: first second")
    assert message.isprintable()
    assert any("some_worker.py" in line for line in runner.heard.lines)
    assert runner.by_hand(body).returncode == 1


def test_work_by_hand_needs_no_listener(runner: WorkerRunner) -> None:
    """`python -m worker CONFIG.json` with nothing on standard input runs to its end and prints the result."""
    process = runner.by_hand("return {'rows': 3}")
    assert process.returncode == 0
    messages = [
        json.loads(line.split(" ", 1)[1]) for line in process.stdout.splitlines() if line.startswith("@dialogsum ")
    ]
    assert [event["result"] for event in messages if event["event"] == "result"] == [{"values": {"rows": 3}}]


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSEGV"])
def test_killed_worker_is_named_with_its_signal(runner: WorkerRunner, how: str) -> None:
    """A worker killed from outside, as for lack of memory, is a StageError with the signal and the progress."""
    with pytest.raises(StageError, match=f"{how}.*batch 7"):
        runner.run(f"print('batch 7', flush=True); os.kill(os.getpid(), signal.{how})")


@pytest.mark.parametrize(("code", "message"), [(3, "code 3"), (0, "code 0")])
def test_worker_that_leaves_without_a_result_failed(runner: WorkerRunner, code: int, message: str) -> None:
    """No result is a failure, whatever the exit code."""
    with pytest.raises(StageError, match=message):
        runner.run(f"os._exit({code})")


def test_module_that_does_not_start_is_a_stage_error(runner: WorkerRunner) -> None:
    """A worker that cannot be imported fails with the interpreter's last words."""
    with pytest.raises(StageError, match="no_such_worker"):
        run_workers("no_such_worker", [Values(values={})], Values, runner.folder / "work", runner.heard)


@pytest.mark.parametrize("last", ["wait", "refuse"])
def test_worker_ends_when_its_parent_is_killed(runner: WorkerRunner, last: str) -> None:
    """SIGKILL to the parent, which can tidy nothing up, ends the worker at once, even one that minds no SIGTERM."""
    stubborn = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if last == "refuse" else "pass"
    pipe = runner.folder / "pipe"
    os.mkfifo(pipe)
    runner.write(f"""
        {stubborn}
        held = open(config["pipe"], "w", buffering=1)  # open until this process ends, however it ends
        held.write(f"{{os.getpid()}}\\n")
        threading.Event().wait()
    """)
    parent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(f"""
            from pathlib import Path
            from tasks.workers.events import NullListener
            from tasks.workers.launcher import run_workers
            from tests.tasks.workers.test_launcher import Values
            config = Values(values={{"pipe": {str(pipe)!r}}})
            run_workers("some_worker", [config], Values, Path({str(runner.folder / "work")!r}), NullListener())
        """),
        ],
        cwd=ROOT,
    )
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        worker = int(_read(reader))
        parent.kill()
        assert parent.wait(PATIENCE) == -signal.SIGKILL
        try:
            assert _read(reader) == b""  # the end of the pipe: nobody holds it any more
        except TimeoutError:
            os.kill(worker, signal.SIGKILL)
            raise
    finally:
        parent.kill()
        parent.wait()
        os.close(reader)


def _read(pipe: int) -> bytes:
    """What comes next through a pipe, empty at its end. TimeoutError when nothing does."""
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    if not poll.poll(PATIENCE * 1000):
        raise TimeoutError(f"nothing in {PATIENCE} s")
    return os.read(pipe, 1024)


def test_interrupted_parent_takes_the_worker_along(runner: WorkerRunner) -> None:
    """An exception where the parent listens, Ctrl-C for instance, ends the worker before it is raised."""

    class Interrupted(RecordingEvents):
        def log(self, line: str) -> None:
            super().log(line)
            raise KeyboardInterrupt

    heard = Interrupted()
    module = runner.write("events.log(str(os.getpid())); threading.Event().wait()")
    with pytest.raises(KeyboardInterrupt):
        run_workers(module, [Values(values={})], Values, runner.folder / "work", heard)
    with pytest.raises(ProcessLookupError):
        os.kill(int(heard.lines[0]), 0)


# -- several workers


def several(runner: WorkerRunner, body: str, *configs: dict[str, Any], environments: Any = ()) -> list[dict[str, Any]]:
    records = [Values(values=config) for config in configs]
    results = run_workers(runner.write(body), records, Values, runner.folder / "work", runner.heard, environments)
    return [result.values for result in results]


def test_workers_run_at_once_and_answer_in_order(runner: WorkerRunner) -> None:
    """Each waits for the other through a pipe; each has its own config and its own environment."""
    os.mkfifo(runner.folder / "pipe")
    results = several(
        runner,
        """
        with open(config["pipe"], "w" if config["i"] else "r") as pipe:
            pipe.write("x") if config["i"] else pipe.read()
        return {"i": config["i"], "gpu": os.environ["CUDA_VISIBLE_DEVICES"]}
        """,
        *({"i": i, "pipe": str(runner.folder / "pipe")} for i in range(2)),
        environments=[{"CUDA_VISIBLE_DEVICES": "4"}, {"CUDA_VISIBLE_DEVICES": "7"}],
    )
    assert results == [{"i": 0, "gpu": "4"}, {"i": 1, "gpu": "7"}]


def test_progress_of_all_workers_is_added_up(runner: WorkerRunner) -> None:
    """Progress begins when all workers have reported their totals, so the total never changes."""
    several(
        runner,
        "[events.progress(i, config['n'], 'fast') for i in range(config['n'] + 1)]; return {}",
        {"n": 3},
        {"n": 5},
    )
    assert runner.heard.steps[-1] == (8, 8, "fast each")
    assert {total for _, total, _ in runner.heard.steps} == {8}
    assert [done for done, _, _ in runner.heard.steps] == sorted(done for done, _, _ in runner.heard.steps)


@pytest.mark.parametrize("stubborn", [False, True])
def test_failure_of_one_worker_stops_the_others(
    runner: WorkerRunner, monkeypatch: pytest.MonkeyPatch, stubborn: bool
) -> None:
    """The error is that of the failing worker, and no process is left, not even one that ignores SIGTERM."""
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.5)
    with pytest.raises(StageError, match="full"):
        several(
            runner,
            """
            if config["i"]:
                with open(config["pipe"]) as pipe:
                    pipe.read()
                raise StageError("full")
            if config["stubborn"]:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            open(config["pipe"] + ".pid", "w").write(str(os.getpid()))
            open(config["pipe"], "w").close()
            threading.Event().wait()
        """,
            *({"i": i, "stubborn": stubborn, "pipe": str(_pipe(runner))} for i in range(2)),
        )
    with pytest.raises(ProcessLookupError):
        os.kill(int((runner.folder / "pipe.pid").read_text()), 0)


def _pipe(runner: WorkerRunner) -> Path:
    if not (runner.folder / "pipe").exists():
        os.mkfifo(runner.folder / "pipe")
    return runner.folder / "pipe"

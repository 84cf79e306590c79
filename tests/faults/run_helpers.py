"""`dialogsum run`, started often and fast: forks of one process that has already imported everything.

Each fork is a process that calls `main` of the command line, and can be killed for real. Its trainer and generators are
processes as usual or, with `inline`, run inside it. `python -m tests.faults.run_helpers` is the process that forks.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from artifacts.artifact_store import Store
from tests.support.paths import ROOT
from tests.support.pipelines import set_options
from tests.support.servers import PrefectServer

STAGES = ("download", "format", "train", "generate", "score", "promote", "report")


class Run:
    """One run: a fork that executes a command."""

    def __init__(self, forker: subprocess.Popen[str], folder: Path, order: dict[str, Any]) -> None:
        self.folder, self.forker = folder, forker
        folder.mkdir(parents=True)
        assert forker.stdin
        assert forker.stdout
        forker.stdin.write(json.dumps(order | {"folder": str(folder)}) + "\n")
        forker.stdin.flush()
        self.process = psutil.Process(int(forker.stdout.readline()))

    @property
    def stderr(self) -> str:
        file = self.folder / "err"
        return file.read_text(errors="replace") if file.exists() else ""

    @property
    def running(self) -> bool:
        return self.process.is_running() and self.process.status() != psutil.STATUS_ZOMBIE

    def until(self, holds: Callable[[], Any], seconds: float = 240) -> bool:
        """Wait until a condition holds; False if the run ended before."""
        end = time.monotonic() + seconds
        while self.running:
            if holds():
                return True
            assert time.monotonic() < end, self.stderr[-800:]
            time.sleep(0.005)
        return False

    def end(self, seconds: float = 240) -> int:
        """Wait for the end: the exit code, or minus the number of the signal that ended it."""
        end = time.monotonic() + seconds
        while not (self.folder / "code").exists() or self.running:
            assert time.monotonic() < end, self.stderr[-800:]
            time.sleep(0.01)
        return int((self.folder / "code").read_text())

    def below(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return self.process.children(recursive=True)
        return []

    def worker(self) -> psutil.Process | None:
        """The process that trains, once it has started."""
        for process in self.below():
            with contextlib.suppress(psutil.NoSuchProcess):
                if "tasks.training.worker" in process.cmdline():
                    return process
        return None


class Runs:
    """Runs of one recipe, on one store after the other, with one Prefect server."""

    def __init__(self, folder: Path, overrides: list[str]) -> None:
        self.folder, self.overrides, self.count = folder, overrides, 0
        self.server = PrefectServer(folder / "server")
        environment = {
            "PREFECT_API_URL": self.server.url,
            "PREFECT_HOME": str(folder / "home"),
            "PYTHONPATH": str(ROOT),
        }
        self.forker = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.run_helpers"],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | environment | {"PREFECT_LOGGING_LEVEL": "CRITICAL"},
        )

    def close(self) -> None:
        assert self.forker.stdin
        self.forker.stdin.close()
        self.forker.wait(60)
        self.server.stop()

    def start(self, name: str, inline: bool = False) -> Run:
        self.count += 1
        order = {
            "store": str(self.store_folder(name)),
            "arguments": ["run", *set_options(self.overrides), "--json"],
            "inline": inline,
        }
        return Run(self.forker, self.folder / "runs" / str(self.count), order)

    def store_folder(self, name: str) -> Path:
        return self.folder / "stores" / name

    def finished(self, name: str, lost: list[Any], inline: bool = False) -> list[dict[str, Any]]:
        """The stages of a run that is not disturbed."""
        run = self.start(name, inline)
        if code := run.end():
            lost.append((code, run.stderr[-800:]))
            return []
        stages: list[dict[str, Any]] = json.loads((run.folder / "out").read_text())["stages"]
        return stages

    def digests(self, name: str, stages: list[dict[str, Any]]) -> dict[str, str]:
        """Digest of each artifact, except the report, which names the run and its times."""
        store = Store(self.store_folder(name))
        return {e["artifact"]: store.by_id(e["artifact"]).digest for e in stages if e["stage"] != "report"}

    def complete_artifacts(self, name: str) -> dict[str, str]:
        """Creation time of each artifact in the store that verifies."""
        store = Store(self.store_folder(name))
        return {m.id: m.provenance.at for m in store.manifests() if store.verified(m.path)}

    def at_work(self, name: str, stage: str) -> bool:
        """Whether a stage has begun or is finished."""
        store = self.store_folder(name)
        return bool([*store.glob(f".scratch/{stage}-*/out"), *store.glob(f"[1-9]_{stage}/*/manifest.json")])


def _be_run(order: dict[str, Any]) -> None:
    """Become the run; never returns."""
    folder = Path(order["folder"])
    os.setsid()
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ["DIALOGSUM_STORE"] = order["store"]
    sys.argv = ["dialogsum", *order["arguments"]]
    if order["inline"]:
        import pytest

        from tests.support.pipelines import patch_workers_inline

        patch_workers_inline(pytest.MonkeyPatch())
    from flows.cli.main import main

    main()


def _fork_on_demand() -> None:
    import tasks.decoding.worker
    import tasks.training.worker  # noqa: F401  # what every run needs, before the first one

    folders: dict[int, Path] = {}

    def collect(*_: object) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                (folders[ended[0]] / "half").write_text(str(os.waitstatus_to_exitcode(ended[1])))
                (folders[ended[0]] / "half").rename(folders[ended[0]] / "code")

    signal.signal(signal.SIGCHLD, collect)
    for line in sys.stdin:
        order = json.loads(line)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        if not (pid := os.fork()):
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
            _be_run(order)
        folders[pid] = Path(order["folder"])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        print(pid, flush=True)


if __name__ == "__main__":
    _fork_on_demand()

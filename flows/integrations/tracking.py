"""Tracking of a run: for each tracker a listener that reports to a process of its own, and never waits for it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from artifacts.artifact_store import Store
from artifacts.code_fingerprint import ROOT
from flows.integrations import outbox
from tasks.execution.listener import Listener, StageEntry
from tasks.prefect_task import current_listener, listening


@contextmanager
def tracking(names: Sequence[str], warn: Callable[[str], None]) -> Iterator[None]:
    """Send what the stages in this block report to trackers too. `warn` gets what went wrong, a line each."""
    listener, own = current_listener.get(), list[TrackingListener]()
    for name in names:
        listener = TrackingListener(listener, name, warn)
        own.append(listener)
    with listening(listener):
        try:
            yield
        finally:
            for each in own:
                each.end()


class TrackingListener:
    """Passes every event on, and reports points and finished artifacts to the process of one tracker."""

    def __init__(self, listener: Listener, name: str, warn: Callable[[str], None]) -> None:
        self.listener, self.name, self.warn = listener, name, warn
        self.artifact = ""
        """The artifact that a stage makes or made last."""
        self.spool = Store.current().scratch / "tracking" / f"{uuid4().hex}-{name}.jsonl"
        self.process: subprocess.Popen[bytes] | None = None
        self.warned: list[str] = []
        with self._warning():
            self.spool.parent.mkdir(parents=True, exist_ok=True)
            self.spool.touch()
            self.process = _start(name, self.spool)

    def stage(self, label: str, status: str, reason: str, artifact: str) -> None:
        self.artifact = artifact
        self.listener.stage(label, status, reason, artifact)

    def finished(self, entry: StageEntry) -> None:
        self.listener.finished(entry)
        if entry.artifact and entry.stage in ("train", "score"):
            with self._warning():
                outbox.note(Store.current(), self.name, [entry.artifact])
            self._report(finished=entry.artifact)
        self._pass_on_warnings()

    def progress(self, completed: int, total: int, note: str = "") -> None:
        self.listener.progress(completed, total, note)

    def log(self, line: str) -> None:
        self.listener.log(line)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self.listener.metrics(step, values)
        self._report(points={"artifact": self.artifact, "step": step, "values": values})

    def end(self) -> None:
        """The run has ended. The process sends what is left."""
        self._pass_on_warnings()
        self._report(end=True)

    def _report(self, **line: Any) -> None:
        with self._warning(), self.spool.open("a") as file:
            file.write(f"{json.dumps(line)}\n")

    def _pass_on_warnings(self) -> None:
        with self._warning():
            file = self.spool.with_suffix(".warnings")
            for line in file.read_text().splitlines() if file.exists() else []:
                self._warn(line)
        if self.process is not None and self.process.poll():
            self._warn(
                f"{self.name}: its process ended; what it has not sent waits for the next run or `dialogsum track`"
            )

    @contextmanager
    def _warning(self) -> Iterator[None]:
        """Turn an error into a warning: no tracker stops a run."""
        try:
            yield
        except Exception as error:
            self._warn(f"{self.name}: {outbox.reason(error)}")

    def _warn(self, line: str) -> None:
        """Once for each line."""
        if line not in self.warned:
            self.warned.append(line)
            self.warn(line)


def _start(name: str, spool: Path) -> subprocess.Popen[bytes]:
    """The process that delivers to a tracker. Its output is dropped: libraries may print addresses with credentials."""
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", "flows.integrations.delivery", name, str(spool), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": paths, "DIALOGSUM_STORE": str(Store.current().root)},
        start_new_session=True,
    )

"""Stage leases: of several machines that want an artifact one makes it, and no lease ever keeps work from being done.

A machine is a Store with a scratch folder of its own, so that no local lock is shared. Times are shortened.
"""

import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.errors import StageError
from artifacts.manifest import Manifest
from artifacts.record import Record
from tasks.execution import stage_lease
from tasks.execution.executor import execute
from tasks.execution.job import Job
from tasks.execution.stage import Context, Stage, StageResult
from tasks.execution.stage_lease import hold_stage
from tasks.workers.events import NullListener
from tests.support.paths import ROOT
from tests.support.servers import until

KEY = "1a2b3c4d" * 8
RENEWAL, EXPIRY = 0.05, 2.0


@pytest.fixture(autouse=True)
def _short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"RENEWAL_SECONDS": RENEWAL, "EXPIRY_SECONDS": EXPIRY, "POLL_SECONDS": 0.02}.items():
        monkeypatch.setattr(stage_lease, name, seconds)
    for name in ("_checked", "_warned"):
        monkeypatch.setattr(stage_lease, name, set())


class Settings(Record):
    name: str = "x"


@dataclass
class Machine(NullListener):
    """One machine, with the log of its runs."""

    store: Store
    lines: list[str] = field(default_factory=list)

    def log(self, line: str) -> None:
        self.lines.append(line)

    def make(self, work: Callable[[], Any], refresh: bool = False) -> tuple[Manifest, bool]:
        """Execute a stage that calls `work` and writes what it returns."""

        def function(spec: Settings, context: Context) -> StageResult:
            (context.out / "made").write_text(str(work()))
            return StageResult(rows=1)

        stage = Stage("format", 1, function, Settings, lambda spec: "x")
        job = Job(
            stage="format",
            variant=None,
            spec=Settings(),
            inputs={},
            identity={},
            run=f"run-{id(self)}",
            refresh=refresh,
        )
        return execute(self.store, stage, job, self)

    def leases(self) -> dict[str, bytes]:
        return self.store.side_files.read_all("leases")

    def foreign_lease(self, **changes: str) -> None:
        """A lease of a machine that is gone."""
        content = {"holder": "gone", "since": "2026-01-01T00:00:00", "machine": "other", "token": "t"} | changes
        name = f"format-{Job(**JOB).key}-000001.json"
        self.store.side_files.write(json.dumps(content).encode(), "leases", name)


JOB: Any = {"stage": "format", "variant": None, "spec": Settings(), "inputs": {}, "identity": {}, "run": "r"}


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.slow)])
def machines(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Machine]:
    """Two machines that share a folder, or a bucket."""
    root = request.getfixturevalue("s3") if request.param == "s3" else tmp_path / "shared"
    pair = []
    for name in "ab":
        scratch = tmp_path / name
        scratch.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(scratch))
        store = Store(root)
        store.check_writable()
        if store.is_local:
            monkeypatch.setattr(store.backend, "scratch", scratch)
        assert store.scratch.is_relative_to(scratch)
        pair.append(Machine(store))
    return pair


def in_thread(call: Callable[..., Any], *arguments: Any) -> Any:
    """Start a call; `.result()` waits for it."""
    threads = ThreadPoolExecutor(1)
    future = threads.submit(call, *arguments)
    threads.shutdown(wait=False)
    return future


def test_the_second_machine_waits_says_for_whom_and_reuses_the_artifact(machines: list[Machine]) -> None:
    """The stage runs once; the one that waits names the host, the run and the time; no lease is left."""
    a, b = machines
    working, go_on, runs = threading.Event(), threading.Event(), list[str]()

    def work() -> str:
        runs.append("a")
        working.set()
        assert go_on.wait(60)
        return "result"

    first = in_thread(a.make, work)
    assert working.wait(60)
    second = in_thread(b.make, lambda: runs.append("b"))
    until(lambda: b.lines, "the log of the machine that waits")
    assert len(a.leases()) == 1
    go_on.set()
    (made, a_ran), (reused, b_ran) = first.result(60), second.result(60)
    assert (a_ran, b_ran, runs) == (True, False, ["a"])
    assert made == reused == b.store.verified(made.path)
    (line,) = b.lines
    assert f"run run-{id(a)}) since 20" in line
    assert line.endswith("UTC: waiting for it")
    assert a.lines == []
    assert a.leases() == {}


def test_a_lease_that_is_renewed_is_waited_for_and_one_that_is_not_expires(machines: list[Machine]) -> None:
    """By the clock of the one that waits: the holder's times are of another century, and are not looked at."""
    _, b = machines
    for since in ("1999-01-01T00:00:00", "2099-01-01T00:00:00"):
        b.foreign_lease(since=since)
    began = time.monotonic()
    waiting = in_thread(b.make, lambda: "b")
    renewals = 0
    while time.monotonic() - began < 1.5 * EXPIRY:
        b.foreign_lease(since="2099-01-01T00:00:00", token=str(renewals := renewals + 1))
        assert not waiting.done()
    renewed = time.monotonic()
    assert waiting.result(60)[1] is True
    assert time.monotonic() - renewed > 0.9 * EXPIRY
    assert renewals > 10
    assert any("gone has not renewed its lease" in line for line in b.lines)
    assert b.leases() == {}


def test_two_that_wait_for_a_dead_holder_make_the_artifact_once(machines: list[Machine]) -> None:
    """Both see the lease expire at the same moment; one takes over, the other waits for it."""
    machines[0].foreign_lease()
    runs = list[str]()
    futures = [
        in_thread(machine.make, lambda name=name: runs.append(name))
        for name, machine in zip("ab", machines, strict=True)
    ]
    assert sorted(future.result(60)[1] for future in futures) == [False, True]
    assert len(runs) == 1


@pytest.mark.parametrize("first", ["the former holder", "the one that took over"])
def test_of_a_holder_that_lost_its_lease_and_its_successor_the_first_result_stays(
    machines: list[Machine], monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """Whichever ends first: the other one gives back that artifact, and its bytes are intact."""
    a, b = machines
    both, go_on = threading.Barrier(3), {"a": threading.Event(), "b": threading.Event()}

    def work(name: str) -> str:
        both.wait(60)
        assert go_on[name].wait(60)
        return name

    monkeypatch.setattr(stage_lease._StageLease, "_renew", lambda self: None)  # as on a machine that was suspended
    futures = {"a": in_thread(a.make, lambda: work("a"))}
    until(a.leases, "the lease of a")
    futures["b"] = in_thread(b.make, lambda: work("b"))
    both.wait(60)
    monkeypatch.undo()
    order = "ab" if first == "the former holder" else "ba"
    results = []
    for name in order:
        go_on[name].set()
        results.append(futures[name].result(60))
    assert [ran for _, ran in results] == [True, False]
    assert results[0][0] == results[1][0] == Store(a.store.backend.name).verified(results[0][0].path)
    assert b.leases() == {}


def test_a_holder_whose_lease_was_taken_over_says_so_and_leaves_it_alone(machines: list[Machine]) -> None:
    """It goes on with its work, and neither renews nor deletes the lease of its successor."""
    a, b = machines
    successor = b"{}"

    def work() -> str:
        (name,) = a.leases()
        b.store.side_files.write(successor, "leases", name.replace("000001", "000002"))
        until(lambda: a.lines, "the log of the holder")
        return "result"

    assert a.make(work)[1] is True
    assert len(a.lines) == 1
    assert "has taken it over; this run goes on" in a.lines[0]
    assert successor in a.leases().values()


HOLDER = """
import sys, threading
from artifacts.artifact_store import Store
from tasks.execution.stage_lease import hold_stage
with hold_stage(Store(sys.argv[1]), "train", sys.argv[2], "run", print):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_after_a_kill_the_same_machine_goes_on_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL leaves the lease, which nobody of this machine waits for: its processes share a lock."""
    monkeypatch.setattr(stage_lease, "EXPIRY_SECONDS", 3600.0)
    command = [sys.executable, "-c", HOLDER, store.backend.name, KEY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGKILL)
    assert len(store.side_files.names("leases")) == 1
    lines = list[str]()
    with hold_stage(store, "train", KEY, "run", lines.append):
        assert len(store.side_files.names("leases")) == 2
    assert lines == []
    assert store.side_files.names("leases") == []


def refuse(*arguments: object) -> Any:
    raise StageError("the store does not answer (NotImplemented)")


@pytest.mark.parametrize(
    ("method", "broken", "warning"),
    [
        ("create", refuse, "keeps no leases (the store does not answer (NotImplemented))"),
        ("entries", refuse, "keeps no leases"),
        ("create", None, "ignores conditional writes"),
    ],
)
def test_a_store_that_keeps_no_leases_stops_nothing_and_is_mentioned_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, method: str, broken: Any, warning: str
) -> None:
    """Conditional writes refused, listing refused, or `If-None-Match` ignored: two stages run, with one warning."""
    lines, ran = list[str](), list[str]()
    monkeypatch.setattr(
        store.backend, method, broken or (lambda path, content: store.backend.write(path, content) or True)
    )
    for key in ("a" * 64, "b" * 64):
        with hold_stage(store, "train", key, "run", lines.append):
            ran.append(key)
    assert len(ran) == 2
    (line,) = lines
    assert line.startswith("warning: the store ")
    assert warning in line


def test_an_outage_during_the_work_is_mentioned_and_the_work_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is not renewed meanwhile, and renewed and released once the store answers again."""
    lines = list[str]()
    with hold_stage(store, "train", KEY, "run", lines.append):
        with monkeypatch.context() as outage:
            outage.setattr(store.backend, "entries", refuse)
            until(lambda: lines, "the log")
        before = store.side_files.read_all("leases")
        until(lambda: store.side_files.read_all("leases") != before, "a renewal")
    assert len(lines) == 1
    assert "is not renewed (the store does not answer" in lines[0]
    assert store.side_files.names("leases") == []


def test_an_artifact_that_exists_costs_no_lease(machines: list[Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither written nor looked for."""
    a, b = machines
    assert a.make(lambda: "a")[1] is True
    asked = list[str]()
    for name in ("create", "write", "read", "entries"):
        inner = getattr(b.store.backend, name)
        monkeypatch.setattr(
            b.store.backend, name, lambda path, *more, inner=inner: inner(asked.append(path) or path, *more)
        )
    assert b.make(lambda: "b")[1] is False
    assert asked
    assert [path for path in asked if path.startswith("leases")] == []


def test_a_stage_that_fails_frees_its_lease(machines: list[Machine]) -> None:
    """The other machine does not wait for it."""
    a, b = machines

    def fail() -> None:
        raise StageError("out of memory")

    with pytest.raises(StageError, match="out of memory"):
        a.make(fail)
    assert b.make(lambda: "b")[1] is True
    assert b.lines == []


def test_a_refresh_makes_the_artifact_again_after_the_one_that_was_waited_for(machines: list[Machine]) -> None:
    """It was asked for."""
    a, b = machines
    a.make(lambda: "a")
    manifest, ran = b.make(lambda: "b", refresh=True)
    assert ran
    assert (b.store.payload(manifest.path) / "made").read_text() == "b"

"""Housekeeping: what a champion, a pin or a recent run needs is never removed, nor anything that it was made from."""

import contextlib
import json
import os
import shutil
import tempfile
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artifacts import garbage_collection, retention
from artifacts.artifact_path import artifact_id
from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from artifacts.errors import RequestError
from artifacts.garbage_collection import GcPolicy
from artifacts.manifest import InputRef, Manifest, Provenance
from artifacts.timestamps import timestamp_ago
from tests.support.processes import run_cli

NOW = datetime(2026, 6, 1, tzinfo=UTC)
STAGES = ("download", "format", "train", "generate", "score", "promote", "report")


def make(number: int, inputs: list[Manifest] = [], days: float = 100, stage: str = "train") -> Manifest:  # noqa: B006
    """A small artifact, made some days ago."""
    store, key = Store.current(), f"{number:08x}" * 8
    with store.lock(stage, key) as scratch:
        out = scratch / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        (out / "payload.bin").write_bytes(b"%d" % number * 10)
        manifest = store.publish(
            out,
            stage=stage,
            variant=None,
            name="made",
            key=key,
            rows=1,
            identity={},
            facts={},
            inputs={f"input{i}": InputRef(id=m.id, digest=m.digest) for i, m in enumerate(inputs)},
            provenance=Provenance(at=timestamp_ago(NOW, timedelta(days=days)), seconds=0, run="test"),
        )
    store.side_files.write(b"{}", "results", f"{stage}-{key}")
    return manifest


def note(run: str, artifacts: list[str], days: float, ended: bool) -> None:
    """What a run has noted some days ago."""
    run_note = retention.RunNote(
        run=run, at=timestamp_ago(NOW, timedelta(days=days)), ended=ended, artifacts=tuple(artifacts)
    )
    Store.current().side_files.write(run_note.model_dump_json().encode(), "runs", f"{run}.json")


def crown(adapter: Manifest) -> None:
    champion = Champion(adapter=adapter.id, template="{dialogue}", turns="none", generate={})
    assert Champions(Store.current(), "0" * 64).promote(champion, "score-ffffffff", "run")


def cleaned(days: float = 30) -> set[str]:
    """Collect garbage; returns the artifacts that are left, all verified."""
    garbage_collection.remove(
        Store.current(), garbage_collection.find_garbage(Store.current(), GcPolicy(days=days), NOW).items, days, NOW
    )
    store = Store.current()
    left = {store.verified(relative).id for relative in store.folders() if store.backend.files(relative)}
    assert {f"{name[:-56]}" for name in store.side_files.names("results")} == left
    return left


@pytest.fixture(params=["local", "s3"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The current store, on disk and on a real S3 server."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if request.param == "s3":
        monkeypatch.setenv("DIALOGSUM_STORE", request.getfixturevalue("s3"))
    Store.current().check_writable()
    return Store.current()


@st.composite
def histories(draw: st.DrawFn) -> dict[str, Any]:
    """A lineage graph with ages, and who needs which artifact."""
    count = draw(st.integers(1, 9))
    some = st.lists(st.integers(0, count - 1), unique=True, max_size=3)
    return {
        "inputs": [draw(st.lists(st.integers(0, i - 1), unique=True, max_size=3)) if i else [] for i in range(count)],
        "days": [draw(st.sampled_from([0.5, 29, 31, 100, 400])) for _ in range(count)],
        "stages": [draw(st.sampled_from(STAGES)) for _ in range(count)],
        "pinned": draw(some),
        "champions": draw(some),
        "runs": draw(st.lists(st.tuples(some, st.sampled_from([0.1, 5, 20, 90]), st.booleans()), max_size=3)),
    }


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories())
def test_exactly_the_unreferenced_artifacts_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, history: dict[str, Any]
) -> None:
    """In any lineage the roots (champion, pin, run, age) and everything they were made from stay, and nothing else."""
    monkeypatch.setenv("DIALOGSUM_STORE", str(tmp_path / uuid.uuid4().hex))
    manifests: list[Manifest] = []
    for i, inputs in enumerate(history["inputs"]):
        manifests.append(make(i, [manifests[j] for j in inputs], history["days"][i], history["stages"][i]))
    for i in history["pinned"]:
        retention.pin(Store.current(), manifests[i].id)
    for i in history["champions"]:
        crown(manifests[i])
    for number, (used, days, ended) in enumerate(history["runs"]):
        note(f"run{number}", [manifests[i].id for i in used], days, ended)

    todo = {*history["pinned"], *history["champions"], *(i for i, days in enumerate(history["days"]) if days < 30)}
    for used, days, _ in history["runs"]:
        todo |= set(used) if days < 30 else set()
    expected: set[int] = set()
    while todo:
        i = todo.pop()
        expected.add(i)
        todo |= set(history["inputs"][i]) - expected
    assert cleaned() == {manifests[i].id for i in expected}
    assert [
        item
        for item in garbage_collection.find_garbage(Store.current(), GcPolicy(), NOW).items
        if item.kind != "scratch"
    ] == []


def test_a_listing_removes_nothing_and_tells_sizes(anywhere: Store) -> None:
    """The dry run names what the real one removes, newest first, with its bytes; on any kind of store."""
    data = make(1, days=100, stage="download")
    adapter = make(2, [data], days=90)
    needed = make(3, days=10)
    garbage = garbage_collection.find_garbage(Store.current(), GcPolicy(), NOW)
    assert [(item.what, item.bytes) for item in garbage.items if item.kind == "artifact"] == [
        (adapter.id, 10),
        (data.id, 10),
    ]
    assert garbage.kept == {needed.id: "made on 2026-05-22"}
    assert len(anywhere.manifests()) == 3
    assert cleaned() == {needed.id}


@pytest.mark.parametrize(
    ("days", "ended", "stays"), [(0.5, False, True), (6, False, True), (8, False, False), (0.5, True, False)]
)
def test_what_a_running_flow_uses_stays_even_with_no_days_to_keep(days: float, ended: bool, stays: bool) -> None:
    """Until it has ended or was silent for a week; then its run note is removed as well."""
    adapter = make(1)
    note("run", [adapter.id], days, ended)
    assert cleaned(days=0) == ({adapter.id} if stays else set())
    assert len(retention.run_notes(Store.current())) == stays


def test_what_a_run_begins_to_use_while_it_is_being_removed_is_put_back(
    anywhere: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run notes an intact artifact whose manifest is then removed: the collection sees the note and restores it."""
    adapter, other = make(1), make(2)
    items = garbage_collection.find_garbage(Store.current(), GcPolicy(), NOW).items
    delete = anywhere.backend.delete

    def run_comes_first(path: str) -> None:
        if path.startswith(adapter.path):
            retention.RunNotes(Store.current(), "run").add(adapter.id)
            anywhere.verified(adapter.path)
        delete(path)

    monkeypatch.setattr(anywhere.backend, "delete", run_comes_first)
    removed = garbage_collection.remove(Store.current(), items, 30, datetime.now(UTC))
    assert {item.what for item in removed if item.kind == "artifact"} == {other.id}
    assert anywhere.verified(adapter.path) == adapter


def test_a_removal_that_dies_at_any_step_leaves_only_complete_artifacts(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever system call is the last: artifacts in the store are complete, and the next collection finishes."""

    def unless_dead(call: Any, *arguments: Any, **more: Any) -> Any:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return call(*arguments, **more)

    survived, finished = 0, False
    while not finished:
        shutil.rmtree(store.root.path, ignore_errors=True)
        data = make(1, stage="download")
        needed, gone = make(2, [data]), make(3, [data])
        retention.pin(Store.current(), needed.id)
        items = garbage_collection.find_garbage(Store.current(), GcPolicy(), NOW).items
        steps = iter(range(survived))
        with monkeypatch.context() as patch:
            for name in ("unlink", "rmdir", "fsync"):
                patch.setattr(os, name, partial(unless_dead, getattr(os, name)))
            with contextlib.suppress(KeyboardInterrupt):
                garbage_collection.remove(Store.current(), items, 30, NOW)
                finished = True
        assert (
            {needed.id, data.id}
            <= {store.verified(m.path).id for m in store.manifests()}
            <= {needed.id, data.id, gone.id}
        )
        garbage_collection.remove(
            Store.current(),
            garbage_collection.find_garbage(Store.current(), GcPolicy(), NOW + timedelta(days=3650)).items,
            30,
            NOW,
        )
        assert [artifact_id(relative) for relative in store.folders()] == [data.id, needed.id]
        survived += 1
    assert survived > 3


def test_half_made_artifacts_and_scratch_go_when_old_and_not_in_use(anywhere: Store) -> None:
    """A payload without manifest and what dead runs left: not before a day has passed, nor while a process holds it."""
    dead, damaged = make(1), make(2)
    anywhere.backend.delete(f"{dead.path}/manifest.json")
    anywhere.backend.write(f"{damaged.path}/manifest.json", b"{")
    for name in ("train-abandoned", "train-busy"):
        (anywhere.scratch / name).mkdir()
        (anywhere.scratch / name / "checkpoint").write_bytes(b"weights")
    anywhere.side_files.write(b"rows", "parts", "generate-abandoned", "0.parquet")
    anywhere.side_files.write(b"{}", "leases", "train-abandoned-000001.json")
    today = datetime.now(UTC)
    assert not [
        item
        for item in garbage_collection.find_garbage(Store.current(), GcPolicy(days=0), today).items
        if item.kind in ("half-made artifact", "parts", "lease", "scratch")
    ]
    later = today + timedelta(days=2)
    items = garbage_collection.find_garbage(Store.current(), GcPolicy(days=0), later).items
    assert {item.what for item in items if item.kind == "half-made artifact"} == {dead.id, damaged.id}
    assert {item.what: item.bytes for item in items if item.what.startswith("train-ab")}["train-abandoned"] > 0
    assert [(item.what, item.bytes) for item in items if item.kind == "parts"] == [("generate-abandoned", 4)]
    with FileLock(str(anywhere.scratch / "train-busy.lock")):
        garbage_collection.remove(Store.current(), items, 0, later)
    assert [path.name for path in anywhere.scratch.iterdir() if path.is_dir() and path.name.startswith("train")] == [
        "train-busy"
    ]
    assert [relative for relative in anywhere.folders() if anywhere.backend.files(relative)] == []
    assert anywhere.backend.files("parts") == anywhere.backend.files("leases") == {}


def kept(policy: GcPolicy) -> dict[str, str]:
    return dict(garbage_collection.find_garbage(Store.current(), policy, NOW).kept)


def test_the_newest_reports_stay_with_all_that_they_were_made_from(anywhere: Store) -> None:
    """However old they are; older reports and what only those were made from go."""
    data = make(1, stage="download", days=400)
    runs = []
    for number, days in ((10, 300), (20, 200), (30, 100)):
        adapter = make(number, [data], days=days)
        runs.append((adapter, make(number + 1, [adapter], days=days, stage="report")))
    assert kept(GcPolicy()) == {}
    newest = {artifact.id for pair in runs[1:] for artifact in pair} | {data.id}
    reasons = kept(GcPolicy(reports=2))
    assert set(reasons) == newest
    assert reasons[runs[2][1].id] == "one of the newest 2 reports"
    assert reasons[runs[2][0].id] == f"{runs[2][1].id} was made from it"
    assert set(kept(GcPolicy(reports=5))) == {artifact.id for pair in runs for artifact in pair} | {data.id}


def test_a_limit_of_champions_keeps_the_current_one_and_those_before_it(anywhere: Store) -> None:
    """Those that the next rollbacks restore; without a limit all stay. One that was rolled back is none."""
    adapters = [make(number, days=300) for number in range(1, 6)]
    for adapter in adapters:
        crown(adapter)
    Champions(Store.current(), "0" * 64).roll_back("run")
    assert set(kept(GcPolicy())) == {adapter.id for adapter in adapters[:4]}
    assert set(kept(GcPolicy(champions=2))) == {adapters[3].id, adapters[2].id}


def test_a_note_that_does_not_read_stops_everything(store: Store) -> None:
    """Nobody knows what it holds: one line names it and the remedy."""
    make(1)
    store.side_files.write(b"{", "runs", "run.json")
    with pytest.raises(RequestError, match=r"runs/run\.json .* could not be parsed .*remove it"):
        garbage_collection.find_garbage(Store.current(), GcPolicy(), NOW)


@pytest.mark.slow
def test_the_commands_list_keep_and_remove(store: Store) -> None:
    """`gc` lists, `pin` protects an artifact and its lineage, `gc --delete` removes the rest; wrong requests fail."""
    data = make(1, stage="download", days=300)
    needed, gone = make(2, [data], days=300), make(3, [data], days=300)
    assert run_cli("pin", needed.id).returncode == 0
    listed = json.loads(run_cli("gc", "--json").stdout)
    assert [item["what"] for item in listed["items"]] == [gone.id]
    assert (listed["deleted"], listed["bytes"]) == (False, 10)
    assert listed["kept"] == {needed.id: "pinned", data.id: f"{needed.id} was made from it"}
    assert "1 can be removed (10 bytes): `dialogsum gc --days 30 --delete` removes them" in run_cli("gc").stdout
    assert "1 removed (10 bytes)" in run_cli("gc", "--delete").stdout
    counted = json.loads(run_cli("store", "--json").stdout)
    assert {row["stage"]: row["count"] for row in counted["stages"] if row["count"]} == {"download": 1, "train": 1}
    assert (counted["bytes"], counted["pinned"]) == (20, [needed.id])
    for name, size in (("models/revision", 3 << 20), ("train-00000001/work", 1 << 20), ("blobs", 1)):
        (store.scratch / name).mkdir(parents=True)
        (store.scratch / name / "file").write_bytes(b"x" * size)
    shown = run_cli("store").stdout
    assert (
        "local scratch 4.2 MB (unpacked base models 3.1 MB, copies of the remote store 1 byte, checkpoints and "
        in shown
    )
    assert f"to free scratch: remove {store.scratch} while no run is active" in shown
    for arguments, expected in (
        ("pin train-00000009", "no artifact train-00000009"),
        ("unpin train-00000003", "is not pinned"),
        ("gc --days -1", "got -1"),
        ("gc --champions 1", "--champions"),
    ):
        refused = run_cli(*arguments.split())
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert expected in refused.stderr
    assert run_cli("unpin", needed.id).returncode == 0
    assert json.loads(run_cli("gc", "--json").stdout)["bytes"] == 20

"""A store on a real S3 server, used by machines that share nothing else: home, temporary and work folders differ."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from flows.station.report_server import application
from tests.support.data import tiny_data
from tests.support.machines import IsolatedMachine
from tests.support.pipelines import DagWalker, patch_workers_inline, small_overrides
from tests.support.servers import S3, until


@pytest.fixture(scope="module")
def recipe(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of a retraining that takes seconds."""
    data = tiny_data(tmp_path_factory.mktemp("data"))
    settings = small_overrides("smollm2-135m", models["llama"], data, "gate.least_rows=1")
    return ["smollm2-135m", *[word for setting in settings for word in ("--set", setting)]]


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A server that a test may kill."""
    server = S3(tmp_path_factory.mktemp("own"))
    yield server
    server.kill()


def status(summary: dict[str, Any]) -> dict[str, str]:
    return {" ".join(filter(None, [e["stage"], e["of"]])): e["status"] for e in summary["stages"]}


def when_formatted(server: S3, store: str, process: subprocess.Popen[str]) -> None:
    """Returns once both tables of prompts are in the store, so that the trainer is at work."""
    look = server.filesystem()

    def formatted() -> bool:
        assert process.poll() is None, process.communicate()
        return len(look.glob(f"{store.removeprefix('s3://')}/2_format/*/manifest.json")) == 2

    until(formatted, "format", 120)
    time.sleep(1.0)


PREPARED = {"download", "format train", "format eval"}
LATER = {"train", "generate base", "generate tuned", "score", "promote", "report"}


@pytest.mark.slow
def test_a_second_machine_reuses_every_stage_of_the_first(
    s3: str, s3_server: S3, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the store alone in common: its scratch is another folder, and nothing of the first one's is left."""
    monkeypatch.setenv("DIALOGSUM_STORE", s3)
    patch_workers_inline(monkeypatch)
    overrides = small_overrides("smollm2-135m", models["llama"], tiny_data(tmp_path / "data"), "gate.least_rows=1")
    artifacts = []
    for machine, executed in (("a", True), ("b", False)):
        (tmp_path / machine).mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / machine))
        walker = DagWalker()
        walker.through(overrides)
        assert [ran for _, ran in walker.results] == [executed] * 9
        artifacts.append([manifest for manifest, _ in walker.results])
        shutil.rmtree(tmp_path / machine)
    assert artifacts[0] == artifacts[1]
    stored = s3_server.filesystem()
    for manifest in artifacts[0]:
        for name in manifest.files:
            assert stored.exists(f"{s3.removeprefix('s3://')}/{manifest.path}/payload/{name}")


@pytest.mark.slow
@pytest.mark.row(1, "SIGKILL of a machine, another goes on")
def test_machines_that_share_only_the_store_do_one_retraining_between_them(
    s3: str, s3_server: S3, tmp_path: Path, recipe: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dies while it trains; B takes up what A made and finishes; A has it all, and evaluates B's adapter.

    A report server on a third machine shows what they made.
    """
    a, b = (IsolatedMachine(tmp_path / name, s3, s3_server) for name in "ab")
    running = a.start("run", *recipe)
    when_formatted(s3_server, s3, running)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()

    finished = b.call("run", *recipe)
    assert status(finished) == dict.fromkeys(PREPARED, "reused") | dict.fromkeys(LATER, "run")
    again = a.call("run", *recipe)
    assert set(status(again).values()) == {"reused"}
    assert again["scores"] == finished["scores"]
    assert [e["artifact"] for e in again["stages"]] == [e["artifact"] for e in finished["stages"]]
    report = next(e["artifact"] for e in finished["stages"] if e["stage"] == "report")
    monkeypatch.setenv("DIALOGSUM_STORE", s3)
    web = TestClient(application("127.0.0.1"), base_url="http://127.0.0.1")
    assert web.get(f"/report/{report}").content == s3_server.filesystem().cat_file(finished["report"])
    assert f"/report/{report}" in web.get("/").text
    other = a.call("evaluate", *recipe, "--prompt", "brief")
    assert {stage for stage, what in status(other).items() if what == "run"} == {
        "format eval",
        "generate base",
        "generate tuned",
        "score",
        "report",
    }

    filesystem, prefix = s3_server.filesystem(), s3.removeprefix("s3://")
    stored = {path.removeprefix(prefix + "/") for path in filesystem.find(prefix)}
    for entry in [*finished["stages"], *other["stages"]]:
        folder = entry["path"].removeprefix(f"{s3}/")
        manifest = json.loads(filesystem.cat_file(f"{prefix}/{folder}/manifest.json"))
        assert {f"{folder}/payload/{name}" for name in manifest["files"]} <= stored
        assert f"results/{manifest['stage']}-{manifest['key']}" in stored
        assert str(tmp_path) not in json.dumps(manifest["identity"])
    notes = [json.loads(filesystem.cat_file(path)) for path in filesystem.glob(f"{prefix}/runs/*.json")]
    assert sorted(note["ended"] for note in notes) == [False, True, True, True]
    assert {e["artifact"] for e in finished["stages"]} in [set(note["artifacts"]) for note in notes]
    for machine in (a, b):
        assert {str(file) for file in machine.files() if not file.is_relative_to(machine.scratch)} == set()


def slow(*values: Any) -> Any:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.row(11, "result store unreachable at the start")
@pytest.mark.parametrize(
    ("command", "address", "environment", "expected"),
    [
        ("run", "bucket/x", {"AWS_SECRET_ACCESS_KEY": "Tr0ub4dor&3"}, "refuses these credentials"),
        ("show", "bukket/x", {}, "does not exist: create it"),
        slow("plan", "bucket/x", {"AWS_ACCESS_KEY_ID": "nobody"}, "refuses these credentials"),
        slow("run", "bukket/x", {}, "does not exist: create it"),
        slow("run", "bucket/x", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "does not answer"),
        slow("run", "worker:Tr0ub4dor&3@bucket/x", {}, "credentials do not belong"),
    ],
)
def test_a_store_that_cannot_be_used_is_refused_before_anything_starts(
    s3_server: S3,
    tmp_path: Path,
    recipe: list[str],
    command: str,
    address: str,
    environment: dict[str, str],
    expected: str,
) -> None:
    """One line, exit 2, no secret in it, no Prefect server started, nothing written."""
    machine = IsolatedMachine(tmp_path, f"s3://{address}", s3_server, **environment)
    process = machine.start(command, *([] if command == "show" else recipe))
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout, stderr.count("\n")) == (2, "", 1), stderr
    assert expected in stderr
    assert "Tr0ub4dor&3" not in stderr
    assert S3.SECRET not in stderr
    assert not list((tmp_path / "prefect").iterdir())
    assert machine.files() == []


@pytest.mark.faults
@pytest.mark.row(11, "result store killed during a run")
def test_an_outage_ends_the_stage_in_one_line_and_a_rerun_repeats_nothing(
    own_server: S3, tmp_path: Path, recipe: list[str]
) -> None:
    """The server is killed while the trainer works: exit 1, the store named; back again, finished stages are reused."""
    store = "s3://bucket/outage"
    machine = IsolatedMachine(tmp_path, store, own_server)
    running = machine.start("run", *recipe)
    when_formatted(own_server, store, running)
    own_server.kill()
    _, stderr = running.communicate(timeout=500)
    assert running.returncode == 1, stderr
    last = stderr.strip().splitlines()[-1]
    assert last.startswith(f"dialogsum: the store {store} does not answer")
    assert "once it is back" in last

    own_server.start()
    finished = machine.call("run", *recipe)
    assert status(finished) == dict.fromkeys(PREPARED, "reused") | dict.fromkeys(LATER, "run")

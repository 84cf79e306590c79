"""A run with trackers: it does not wait for them, it does not fail with them, and its artifacts are the same."""

import logging
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from artifacts.artifact_store import Store
from flows.integrations import outbox, tracker, tracking
from flows.recipe import load_recipe
from tasks.execution.listener import StageEntry
from tasks.prefect_task import current_listener, listening
from tasks.workers.events import NullListener
from tests.support.pipelines import (
    adapter_id,
    flow_caller,
    patch_known_summaries,
    patch_workers_inline,
    planned_stages,
    small_overrides,
    stage_entry,
)
from tests.support.processes import call_cli, run_cli
from tests.support.servers import until
from tests.support.trackers import (
    MlflowServer,
    delivered,
    expected_curve,
    expected_scores,
    flat,
    mlflow_runs,
    numbers,
)


@pytest.fixture
def run(models: dict[str, Path], data: Path, monkeypatch: pytest.MonkeyPatch, prefect_server: None) -> Any:
    patch_workers_inline(monkeypatch)
    patch_known_summaries(monkeypatch, data)
    return flow_caller(models["llama"], data)


@pytest.fixture
def warnings(prefect_server: None) -> Iterator[list[str]]:
    """Warnings in the log of runs."""
    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, handler = logging.getLogger("prefect.flow_runs"), Handler(logging.WARNING)
    level = logger.level
    logger.setLevel(logging.WARNING)
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowServer]:
    with MlflowServer(tmp_path / "mlflow") as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
        yield server


def made(store: Store) -> dict[str, str]:
    """Artifact -> digest, without reports, which name the time and the run."""
    return {m.id: m.digest for m in store.manifests() if m.stage != "report"}


@pytest.mark.slow
def test_a_server_that_dies_in_a_run_costs_the_run_nothing_and_gets_everything_later(
    run: Any, mlflow: MlflowServer, warnings: list[str], store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed with SIGKILL after the first optimizer step: the same artifacts, a warning, and all of it afterwards."""

    class Killer(NullListener):
        def metrics(self, step: int, values: dict[str, float]) -> None:
            if step == 1:
                mlflow.kill()

        def finished(self, entry: Any) -> None:
            if entry.stage == "score":  # a training of two steps is over before anyone could know
                (spool,) = (store.scratch / "tracking").glob("*.jsonl")
                until(lambda: "1 run waits" in spool.with_suffix(".warnings").read_text(), "a warning")

    with listening(Killer()):
        summary = run("retrain", 1, "track=[mlflow]")
    assert all(line.startswith("mlflow: ") for line in warnings)
    assert warnings[-1].startswith("mlflow: 1 run waits for the next run or `dialogsum track` (MlflowException: ")
    monkeypatch.setenv("DIALOGSUM_STORE", str(tmp_path / "other"))
    run("retrain", 1)
    assert made(store) == made(Store.current())
    monkeypatch.setenv("DIALOGSUM_STORE", str(store.root))
    delivered()
    mlflow.start()
    adapter, scores = adapter_id(summary), str(stage_entry(summary, "score")["artifact"])
    sent = run_cli("track")
    assert sent.returncode == 0, sent.stderr
    seen = mlflow_runs(mlflow)[adapter]
    assert flat(seen.curve) == flat(expected_curve(store, adapter))
    assert numbers(seen.metrics) == expected_scores(store, scores)
    assert seen.tags["champion"] == "yes"


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.slow
def test_a_run_does_not_wait_for_a_server_that_never_answers(
    run: Any, silent: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the run is over, the process that delivers is still at its first request; what it has not sent waits."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", silent)
    summary = run("retrain", 1, "track=[mlflow]")
    assert summary["decision"]["state"] == "promoted"
    (spool,) = (store.scratch / "tracking").glob("*.jsonl")
    running = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    (process,) = [p for p in running if str(spool) in p.cmdline()]
    process.kill()
    assert outbox.Note() == outbox.Note.model_validate_json(
        store.side_files.read("tracked", "mlflow", f"{adapter_id(summary)}.json") or b""
    )


class Recorder(NullListener):
    """Keeps the names of the events that it receives."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("stage", "finished", "progress", "log", "metrics"):
            return lambda *_: self.events.append(name)
        return super().__getattribute__(name)


def test_a_listener_passes_everything_on_and_waits_for_no_process(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a process that reads nothing, one that cannot be started, and a store that refuses notes."""
    warnings, recorder = list[str](), Recorder()

    def start(name: str, spool: Path) -> Any:
        if name == "wandb":
            raise OSError("no memory")

    monkeypatch.setattr(tracking, "_start", start)
    monkeypatch.setattr(outbox, "note", lambda *_: 1 / 0)
    entry = StageEntry(stage="train", status="run", reason="", artifact="train-1a2b3c4d", path=None, rows=1, seconds=1)
    with listening(recorder), tracking.tracking(("mlflow", "wandb"), warnings.append):
        listener = current_listener.get()
        listener.stage("train", "run", "new", "train-1a2b3c4d")
        for step in range(1000):
            listener.metrics(step, {"train_loss": 1.0})
        listener.progress(1, 2)
        listener.log("a line")
        listener.finished(entry)
    assert recorder.events == ["stage", *["metrics"] * 1000, "progress", "log", "finished"]
    assert warnings == [
        "wandb: OSError: no memory",
        "mlflow: ZeroDivisionError: division by zero",
        "wandb: ZeroDivisionError: division by zero",
    ]
    spool = next((store.scratch / "tracking").glob("*-mlflow.jsonl")).read_text().splitlines()
    assert len(spool) == 1002
    assert spool[0] == '{"points": {"artifact": "train-1a2b3c4d", "step": 0, "values": {"train_loss": 1.0}}}'
    assert spool[-2:] == ['{"finished": "train-1a2b3c4d"}', '{"end": true}']


def test_no_key_depends_on_the_trackers(models: dict[str, Path], data: Path) -> None:
    """A plan with `track` has the artifacts of one without; the revision of the recipe is the same too."""
    overrides = small_overrides("smollm2-135m", models["llama"], data)
    tracked = [*overrides, "track=[mlflow, wandb]"]
    assert planned_stages(tracked) == planned_stages(overrides)
    assert load_recipe("quickstart", ["track=[wandb]"]).revision == load_recipe("quickstart").revision


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("[mlflw]", "--set track.0: got 'mlflw'; expected one of mlflow, tensorboard, trackio, wandb"),
        ("[trackio]", "track: trackio needs its package: pip install 'dialogsum-pipeline[trackio]'"),
        ("[mlflow]", "track: mlflow needs a server: set MLFLOW_TRACKING_URI, such as http://127.0.0.1:5000"),
    ],
)
def test_a_tracker_that_cannot_be_used_is_refused_before_anything_runs(
    setting: str, message: str, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    """Also without its package."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(tracker, "find_spec", lambda package: None if package == "trackio" else package)
    refused = call_cli("run", "--set", f"track={setting}")
    assert (refused.returncode, refused.stderr) == (2, f"dialogsum: {message}\n")
    assert not Path(store.root.path).exists()

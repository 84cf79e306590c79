"""Runs with all trackers: what each shows, read by the tracker itself, is what the store holds, live and later."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from tests.support.data import tiny_data
from tests.support.pipelines import (
    adapter_id,
    flow_caller,
    patch_known_summaries,
    patch_workers_inline,
    stage_entry,
)
from tests.support.processes import run_cli
from tests.support.trackers import (
    MlflowServer,
    SeenRun,
    delivered,
    expected_curve,
    expected_scores,
    expected_settings,
    flat,
    mlflow_runs,
    numbers,
    tensorboard_runs,
    trackio_runs,
    wandb_runs,
)

pytestmark = pytest.mark.slow
TRACKERS = ("mlflow", "tensorboard", "trackio", "wandb")
by_tracker = pytest.mark.parametrize("tracker", TRACKERS)
Runs = dict[str, SeenRun]


class Places:
    """A destination for each tracker."""

    def __init__(self, folder: Path, server: MlflowServer, experiment: str = "dialogsum") -> None:
        self.folder, self.server, self.experiment = folder, server, experiment
        folder.mkdir()
        self.environment = {
            "MLFLOW_TRACKING_URI": server.url,
            "MLFLOW_EXPERIMENT_NAME": experiment,
            "DIALOGSUM_TENSORBOARD": str(folder / "tensorboard"),
            "TRACKIO_DIR": str(folder / "trackio"),
            "WANDB_MODE": "offline",
            "WANDB_DIR": str(folder),
            "DIALOGSUM_MLFLOW_MODEL": f"{experiment}-{{base}}",
        }

    def versions(self) -> dict[str, str]:
        """Adapter -> its version in MLflow's registry, `2 champion` for the one that the alias names."""
        client = self.server.client
        found = [client.get_model_version(v.name, v.version) for v in client.search_model_versions("")]
        own = [version for version in found if version.name == f"{self.experiment}-llama"]
        assert len({version.tags["dialogsum.artifact"] for version in own}) == len(own)
        return {v.tags["dialogsum.artifact"]: " ".join([str(v.version), *v.aliases]) for v in own}

    def read(self) -> dict[str, Runs]:
        return {
            "mlflow": mlflow_runs(self.server, self.experiment),
            "tensorboard": tensorboard_runs(self.folder / "tensorboard"),
            "trackio": trackio_runs(self.folder / "trackio"),
            "wandb": wandb_runs(self.folder),
        }

    def files(self) -> set[tuple[str, int]]:
        """Files that trackers write, with their times of change."""
        files = [
            file for file in self.folder.rglob("*") if file.is_file() and not file.name.endswith((".lock", "-shm"))
        ]
        return {(str(file), file.stat().st_mtime_ns) for file in files}


class Past:
    """Rank 1 becomes champion, then rank 2, whose prompt is then evaluated anew; then rank 2 is rolled back."""

    def __init__(self, folder: Path, server: MlflowServer, run: Callable[..., dict[str, Any]]) -> None:
        self.live, self.later = Places(folder / "live", server), Places(folder / "later", server, "later")
        self.store, track = Store.current(), f"track=[{','.join(TRACKERS)}]"
        self.first = run("retrain", 1, track)
        delivered()
        self.after_first, self.versions = self.live.read(), [self.live.versions()]
        self.second = run("retrain", 2, track)
        self.evaluation = run("evaluate", 2, track, adapter=adapter_id(self.second), prompt="brief")
        delivered()
        self.after_second = self.live.read()
        self.versions.append(self.live.versions())
        run("rollback", 1, track)
        delivered()
        self.after_rollback = self.live.read()
        self.versions.append(self.live.versions())
        self.track = run_cli("track")
        everything = ["track", "--backfill", *(f"--tracker={name}" for name in TRACKERS)]
        self.backfill = run_cli(*everything, **self.later.environment)
        self.backfilled, self.written = self.later.read(), self.later.files()
        run_cli(*everything, **self.later.environment)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path], prefect_server: None) -> Iterator[Past]:
    folder = tmp_path_factory.mktemp("tracked")
    tiny_data(folder / "data")
    with MlflowServer(folder / "mlflow") as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIALOGSUM_STORE", str(folder / "store"))
        patch_workers_inline(patch)
        patch_known_summaries(patch, folder / "data")
        for name, value in Places(folder / "environment", server).environment.items():
            patch.setenv(name, value.replace("/environment", "/live"))
        yield Past(folder, server, flow_caller(models["llama"], folder / "data"))


@by_tracker
def test_a_tracker_shows_settings_curve_and_scores_of_an_adapter(past: Past, tracker: str) -> None:
    """Compared with the files of the artifacts: every setting, every point of the curve, every score and interval."""
    for summary, shown in ((past.first, past.after_first), (past.second, past.after_second)):
        adapter, scores = adapter_id(summary), str(stage_entry(summary, "score")["artifact"])
        run, settings = shown[tracker][adapter], expected_settings(past.store, adapter)
        assert len(settings) > 20
        assert settings.items() <= run.parameters.items()
        assert (run.parameters["generate.max_new_tokens"], run.parameters["prompt"]) == ("6.0", "highlight")
        expected = flat(expected_curve(past.store, adapter))
        assert len(expected) >= 2 * 4 + 1
        assert flat(run.curve) == pytest.approx(expected, rel=1e-6)
        assert numbers(run.metrics) == pytest.approx(expected_scores(past.store, scores), rel=1e-6, abs=1e-9)
        manifest = past.store.by_id(adapter)
        assert run.metrics["measured/seconds"] == pytest.approx(manifest.provenance.seconds, rel=1e-6)
        assert (run.tags["flow_run"], run.tags["decision"]) == (manifest.provenance.run, "promoted")
        assert run.tags["adapter"] == past.store.absolute(manifest.path)
        assert run.tags["report"].endswith("payload/report.html")
        assert run.parent is None


@by_tracker
def test_the_champion_tag_moves_with_a_promotion_and_with_a_rollback(past: Past, tracker: str) -> None:
    first, second = adapter_id(past.first), adapter_id(past.second)
    shown = [runs[tracker] for runs in (past.after_first, past.after_second, past.after_rollback)]
    assert [runs[first].tags["champion"] for runs in shown] == ["yes", "no", "yes"]
    assert [runs[second].tags["champion"] for runs in shown[1:]] == ["yes", "no"]
    assert second not in shown[0]


@by_tracker
def test_a_further_evaluation_is_a_run_below_its_adapter(past: Past, tracker: str) -> None:
    """With its own prompt and scores; the scores of the adapter's first evaluation stay with the adapter."""
    scores = str(stage_entry(past.evaluation, "score")["artifact"])
    run = past.after_second[tracker][scores]
    assert run.parent == adapter_id(past.second)
    assert (run.parameters["evaluation.prompt"], run.curve) == ("brief", {})
    assert numbers(run.metrics) == pytest.approx(expected_scores(past.store, scores), rel=1e-6, abs=1e-9)
    assert len(past.after_second[tracker]) == 3


@by_tracker
def test_a_backfill_shows_what_was_shown_live(past: Past, tracker: str) -> None:
    assert past.backfilled[tracker] == past.after_rollback[tracker]


def test_a_second_backfill_sends_nothing(past: Past) -> None:
    """No file of a tracker changes, and the server's runs stay as they are."""
    assert past.later.files() == past.written
    assert past.later.read()["mlflow"] == past.backfilled["mlflow"]


def test_the_command_shows_what_was_sent(past: Past) -> None:
    assert (past.track.returncode, past.backfill.returncode) == (0, 0), past.track.stderr + past.backfill.stderr
    lines = past.track.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(TRACKERS)
    assert all(line.rstrip().endswith(" 3        0") for line in lines[1:]), past.track.stdout


def test_the_alias_in_mlflows_registry_is_the_champion(past: Past, tmp_path: Path) -> None:
    """One version for each champion, with the bytes of its adapter; a backfill registers the current one only."""
    first, second = adapter_id(past.first), adapter_id(past.second)
    assert past.versions == [
        {first: "1 champion"},
        {first: "1", second: "2 champion"},
        {first: "1 champion", second: "2"},
    ]
    assert past.later.versions() == {first: "1 champion"}
    from mlflow.artifacts import download_artifacts

    folder = download_artifacts(
        "models:/dialogsum-llama@champion", dst_path=str(tmp_path), tracking_uri=past.live.server.url
    )
    payload = past.store.payload(past.store.by_id(first).path)
    names = {file.name for file in payload.iterdir()}
    assert {file.name: file.read_bytes() for file in Path(folder).iterdir()} == {
        n: (payload / n).read_bytes() for n in names
    }

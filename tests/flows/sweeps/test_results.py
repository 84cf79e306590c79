"""What becomes of a sweep: its files, its winner as a run of its own, and no trace among results on the test split."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from artifacts.manifest import Manifest
from artifacts.schemas import CURVE, read_table
from flows.adapter_lookup import find_adapter
from flows.cli import results_table
from flows.cli.status import status
from flows.evaluation_history import evaluations
from flows.inference.card_scores import newest_scores
from flows.inference.model_selection import select_model
from flows.review_page import find_scores
from flows.sweeps.results import sweep_result
from flows.sweeps.trials import TrialStore
from tasks.manifest_views import AdapterView
from tests.support.data import tiny_data
from tests.support.pipelines import (
    expected_f1,
    patch_known_summaries,
    patch_workers_inline,
    stage_entry,
    stages_run,
)
from tests.support.reports import link_targets
from tests.support.sweeps import SweepListener, SweepRunner, by_number

pytestmark = pytest.mark.usefixtures("workers_inline", "prefect_server")
OVER = "train.lora.rank=2,3"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path], prefect_server: None) -> Any:
    """(folder with store, data and files of a sweep over ranks, its JSON)."""
    folder = tmp_path_factory.mktemp("swept")
    tiny_data(folder / "data")
    (folder / "files").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIALOGSUM_STORE", str(folder / "store"))
        patch_workers_inline(patch)
        patch_known_summaries(patch, folder / "data")
        sweep = SweepRunner(models["llama"], folder / "data", "report.price_per_gpu_hour=36")
        return folder, sweep(OVER, out=str(folder / "files"))


@pytest.fixture
def swept(finished: Any, tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The JSON of the sweep, in a copy of its store; its runner, for the data where they were."""
    folder, summary = finished
    shutil.copytree(folder / "store", tmp_path / "store")
    patch_known_summaries(monkeypatch, folder / "data")
    runner = SweepRunner(models["llama"], folder / "data", "report.price_per_gpu_hour=36")
    return summary, runner


def winner(summary: dict[str, Any]) -> Manifest:
    return Store.current().by_id(summary["trials"][0]["adapter"])


def test_the_winners_recipe_is_run_with_its_adapter_which_is_a_candidate_only_then(swept: Any, store: Store) -> None:
    """`run FILE` trains nothing; before it no adapter is the latest, afterwards the winner is, but no other trial."""
    from flows.pipeline import retrain

    summary, _ = swept
    adapter = winner(summary)
    base = AdapterView(adapter).base_revision
    assert AdapterView(adapter).train_settings["lora"]["rank"] == 3
    for find in (lambda: find_adapter("latest", _model(adapter)), lambda: select_model("latest", None, None)):
        with pytest.raises(RequestError, match="no adapter"):
            find()
    assert "3 adapters are trained; none was evaluated on the test split." in status()
    assert "dialogsum run RECIPE-sweep-ID.yaml" in status()
    result: Any = retrain(recipe=summary["files"]["recipe"]).to_json()
    assert "train" not in {stage.split(" ")[0] for stage in stages_run(result)}
    assert stage_entry(result, "train")["artifact"] == adapter.id
    assert result["recipe"] == f"smollm2-135m-sweep-{summary['sweep']}"
    assert result["scores"]["tuned"]["rouge1"] == pytest.approx(expected_f1(7), abs=1e-3)
    latest = find_adapter("latest", _model(adapter))
    assert latest is not None
    assert latest.id == adapter.id
    assert f"{adapter.id} is champion." in status()
    assert [each.adapter for each in evaluations(base)] == [adapter.id]


def _model(adapter: Manifest) -> Any:
    from tasks.config import ResolvedModel

    return ResolvedModel(revision=AdapterView(adapter).base_revision, location="/nowhere", origin="llama")


def test_validation_scores_are_no_results(swept: Any, store: Store) -> None:
    """Not in the history, the table of results, a model card or a review; by id the table names the split."""
    summary, _ = swept
    adapter, scores = winner(summary), summary["trials"][0]["scores"]
    assert evaluations(AdapterView(adapter).base_revision) == []
    with pytest.raises(RequestError, match="no evaluations"):
        results_table.markdown_table([])
    (line, *_) = [row for row in results_table.markdown_table([scores]).splitlines() if "tuned" in row]
    assert "4 x 1 reference of the validation split" in line
    assert newest_scores(store, adapter, AdapterView(adapter).template) == (None, None)
    with pytest.raises(RequestError, match="no evaluation of a tuned model"):
        find_scores(None)
    with pytest.raises(RequestError, match="was made in a sweep, on the validation split"):
        find_scores(scores)


def test_the_files_are_the_plot_and_a_recipe_that_says_where_it_is_from(swept: Any) -> None:
    """Its keys are those of the recipe and of the request; the parameters are the winner's."""
    summary, runner = swept
    text = Path(summary["files"]["recipe"]).read_text()
    comment = " ".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
    assert summary["sentence"] in comment
    assert f"Adapter {summary['trials'][0]['adapter']}, scores {summary['trials'][0]['scores']}." in comment
    recipe = yaml.safe_load(text)
    expected = runner.setup(OVER).resolved({"train.lora.rank": 3}).recipe
    assert recipe["train"]["lora"] == {"rank": 3, "alpha": expected.train.lora.alpha}
    assert {key for key in expected.train.model_fields_set if key != "lora"} == {*recipe["train"]} - {"lora"}
    assert Path(summary["files"]["plot"]).read_text().startswith("<svg")


def test_the_page_in_the_ui_has_the_table_and_the_recipe(swept: Any) -> None:
    """Its adapters are links."""
    from prefect.artifacts import Artifact

    summary, runner = swept
    runner(OVER)
    page: Any = Artifact.get(key="sweep")
    assert summary["sentence"] in page.data.replace("\\", "")
    rows = [line for line in page.data.splitlines() if line.startswith("| ") and "trial" not in line]
    assert len(rows) == 3
    assert "best" in rows[0]
    assert "the recipe as it is" in rows[2]
    adapters = [trial["adapter"] for trial in summary["trials"]]
    assert [adapter in link_targets(row)[0] for adapter, row in zip(adapters, rows, strict=True)] == [True] * 3
    recipe = page.data.split("```yaml\n")[1].split("```")[0]
    assert yaml.safe_load(recipe)["train"]["lora"]["rank"] == 3
    assert page.description == f"smollm2-135m: sweep {summary['sweep']} over train.lora.rank"


def test_trials_whose_scores_were_removed_are_finished_and_left_out_of_comparisons(swept: Any, store: Store) -> None:
    """`gc` may have taken them: nothing is paid again, and what cannot be compared is counted."""
    summary, runner = swept
    for trial in by_number(summary)[1:]:
        shutil.rmtree(store.absolute(store.by_id(trial["scores"]).path))
    listener = SweepListener()
    again = runner(OVER, listener=listener)
    assert not any(listener.made)
    assert [trial["value"] for trial in again["trials"]] == [trial["value"] for trial in summary["trials"]]
    assert {trial["difference"] for trial in again["trials"]} == {None}
    assert again["selection_bias"] is None
    assert "complete trials whose scores are no longer in the store, left out of comparisons: 2" in again["remarks"]


def test_a_trial_that_was_not_completed_costs_what_its_seconds_would(swept: Any, store: Store) -> None:
    """At 36 an hour a second of one GPU costs 0.01; the share of GPU time is that of the complete trials."""
    _, runner = swept
    setup = runner.setup(OVER)
    trials = TrialStore(store, setup.id).trials()
    changed = [
        trials[0].model_copy(update={"seconds": 100.0, "gpu_seconds": 80.0}),
        trials[1].model_copy(update={"seconds": 100.0, "gpu_seconds": 60.0}),
        trials[2].model_copy(update={"seconds": 50.0, "state": "pruned", "value": None, "scores": None}),
    ]
    costs = {each.trial.number: each.cost for each in sweep_result(setup, changed).trials}
    assert costs == pytest.approx({0: 0.8, 1: 0.6, 2: 0.35})


def test_the_json_of_the_command_line_is_one_object(swept: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from flows.cli.sweep_output import run_sweep

    summary, runner = swept
    parameters = {"recipe": "smollm2-135m", "over": [OVER], "overrides": runner.overrides, "prune": False}
    run_sweep(parameters, as_json=True)
    content = json.loads(capsys.readouterr().out)
    assert content == summary | {"files": {}}
    run_sweep(parameters, as_json=False)
    output = capsys.readouterr().out
    assert summary["sentence"] in output
    assert "train.lora.rank: 2, 3" in output


@pytest.mark.slow
def test_trials_reach_a_tracker_while_they_train(
    store: Store, models: dict[str, Path], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the tracker's process would read: every point of each trial's curve, and which artifacts are finished."""
    patch_known_summaries(monkeypatch, data)
    monkeypatch.setattr("flows.integrations.tracking._start", lambda name, spool: None)
    summary = SweepRunner(models["llama"], data, "track=[tensorboard]")(OVER)
    (spool,) = (store.scratch / "tracking").glob("*-tensorboard.jsonl")
    lines = [json.loads(line) for line in spool.read_text().splitlines()]
    assert lines[-1] == {"end": True}
    curves: dict[str, set[int]] = {}
    for point in (line["points"] for line in lines if "points" in line):
        curves.setdefault(point["artifact"], set()).add(point["step"])
    trials = [trial["adapter"] for trial in summary["trials"]]
    assert len(trials) == 3
    assert curves.keys() == set(trials)
    for adapter in trials:
        rows = read_table(store.payload(store.by_id(adapter).path) / "curve.parquet", CURVE)
        assert curves[adapter] == {row["step"] for row in rows}
    assert set(trials) <= {line["finished"] for line in lines if "finished" in line}

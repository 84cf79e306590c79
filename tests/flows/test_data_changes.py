"""Data that changes: a retraining is compared with the data of the champion, and reruns no more for it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from flows.cli.terminal import Terminal
from flows.run_summary import RunSummary
from tasks.reporting.links import artifact_link
from tests.support.data import read_csv, write_csv
from tests.support.data_stages import dialogue_row
from tests.support.pipelines import (
    adapter_id,
    flow_caller,
    patch_known_summaries,
    planned_stages,
    stage_entry,
    stages_run,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("workers_inline", "prefect_server")]


@pytest.fixture
def run(models: dict[str, Path], data: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Flows in which a higher rank is a better adapter."""
    patch_known_summaries(monkeypatch, data)
    return flow_caller(models["llama"], data)


def change(data: Path) -> None:
    """One training dialogue removed, two added, one edited: by hand, on twelve."""
    rows = read_csv(data / "train.csv")
    rows[3]["summary"] = "Other words."
    write_csv(data / "train.csv", [*rows[1:], dialogue_row("new_a"), dialogue_row("new_b")])


def first_screen(summary: dict[str, Any]) -> str:
    text = Path(summary["report"]).with_suffix(".md").read_text(encoding="utf-8")
    return text.split("| F1")[0].replace("\\", "")


def test_the_report_of_changed_data_counts_the_changes_and_an_unchanged_rerun_reuses_it(
    run: Any, data: Path, capsys: Any
) -> None:
    """In the report, the message of the run, its JSON and its last lines; before there is a champion, nowhere."""
    from prefect.artifacts import Artifact

    first = run("retrain", 1)
    assert "data_changes" not in first
    assert "The data" not in first_screen(first)
    change(data)
    ended = run("retrain", 2, return_state=True)
    second = ended.result().to_json()
    sentence = f"Since {adapter_id(first)} was trained: 2 training dialogues added, 1 removed, 1 edited"
    assert f"; {sentence}; reused " in ended.message
    assert f"{sentence}.".replace(adapter_id(first), f"`{adapter_id(first)}`") in first_screen(second)
    page: Any = Artifact.get(key="report")
    assert sentence.replace(adapter_id(first), artifact_link(adapter_id(first))) in page.data.replace("\\", "")
    assert f"<p>{sentence}.</p>" in Path(second["report"]).read_text(encoding="utf-8")
    assert second["data_changes"]["sentence"] == f"{sentence}."
    assert second["data_changes"]["changes"]["splits"]["train"]["edited_references"] == 1
    assert RunSummary.model_validate(second).to_json() == second
    capsys.readouterr()
    Terminal().scores(RunSummary.model_validate(second), {}, f"{sentence}.")
    assert capsys.readouterr().out.splitlines()[-2:] == [f"{sentence}.", f"report: {second['report']}"]

    assert second["decision"]["state"] == "promoted"
    assert {entry["status"] for entry in planned_stages(run.overrides(2)).values()} == {"reused"}
    again = run("retrain", 2)
    assert stages_run(again) == []
    assert again["data_changes"] == second["data_changes"]


def test_unchanged_data_is_one_sentence(run: Any) -> None:
    """Also on the first screen alone: there is neither a section nor a key of the JSON."""
    first = run("retrain", 1)
    second = run("retrain", 2)
    assert f"The data is the same as when `{adapter_id(first)}` was trained." in first_screen(second)
    assert "What changed in the data" not in Path(second["report"]).read_text(encoding="utf-8")
    assert "data_changes" not in second
    assert stages_run(run("retrain", 2)) == []


def test_the_same_champion_reruns_no_report_and_a_lost_dataset_ends_no_run(run: Any, data: Path, store: Store) -> None:
    """An evaluation of the candidate compares with the same data; if that is lost, a line has the reason."""
    first = run("retrain", 1)
    change(data)
    rejected = run("retrain", 1)
    assert rejected["decision"]["state"] == "rejected"
    assert stages_run(run("retrain", 1)) == []
    evaluated = run("evaluate", 1, adapter=adapter_id(rejected))
    assert evaluated["data_changes"] == rejected["data_changes"]
    dataset = stage_entry(first, "download")
    shutil.rmtree(dataset["path"])
    again = run("retrain", 1)
    assert stages_run(again) == ["report"]
    lost = f"The data was not compared with that of `{adapter_id(first)}`: {dataset['artifact']} is missing or damaged."
    assert lost in first_screen(again)
    assert stages_run(run("retrain", 1)) == []

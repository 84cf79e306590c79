"""The main job as a user runs it: the command line, which starts a process for each training and generation.

`make test` runs it with a tiny random model on the server of the tests. `make test-all` also runs it with the weights
of the recipe `quickstart`, few rows and few steps, on a server that the command starts; `make run` runs it whole.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest
from prefect.settings import PREFECT_API_URL

from tests.support.data import tiny_data
from tests.support.pipelines import small_overrides
from tests.support.processes import run_cli

RECIPES = ["tiny", pytest.param("quickstart", marks=pytest.mark.slow)]
SHORT = [
    "train.limit=8",
    "train.max_steps=2",
    "train.evaluations=1",
    "train.validation_limit=2",
    "train.lora.rank=4",
    "generate.limit=3",
    "generate.max_new_tokens=8",
    "score.bootstrap_resamples=500",
]


@pytest.fixture(scope="module", params=RECIPES)
def command(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]
) -> Callable[..., Any]:
    """`command("run", …)` returns the JSON object that the command prints; all share a store and a Prefect home."""
    home = tmp_path_factory.mktemp("home")
    recipe, overrides = "quickstart", SHORT
    places = {"DIALOGSUM_STORE": str(home / "store"), "PREFECT_HOME": str(home / "prefect")}
    if request.param == "tiny":
        request.getfixturevalue("prefect_server")
        places["PREFECT_API_URL"] = str(PREFECT_API_URL.value())
        recipe = "smollm2-135m"
        overrides = [*small_overrides(recipe, models["llama"], tiny_data(home / "data")), "generate.limit=3"]
        overrides.append("probe.dialogues=2")

    def call(verb: str, *arguments: str, returncode: int = 0) -> dict[str, Any]:
        options = [word for override in overrides for word in ("--set", override)]
        process = run_cli(verb, recipe, *options, *arguments, "--json", **places)
        assert process.returncode == returncode, process.stderr
        answer: dict[str, Any] = json.loads(process.stdout) | {"stderr": process.stderr}
        return answer

    return call


@pytest.fixture(scope="module")
def first(command: Any) -> dict[str, Any]:
    summary: dict[str, Any] = command("run")
    return summary


def folder(summary: dict[str, Any], stage: str, variant: str | None = None) -> Path:
    (entry,) = [e for e in summary["stages"] if (e["stage"], e["of"]) == (stage, variant)]
    return Path(entry["path"]) / "payload"


@pytest.mark.slow
def test_run_makes_every_artifact_in_the_order_of_the_graph(first: dict[str, Any]) -> None:
    """All eleven stages ran, their folders hold the tables that are promised, and the report is there."""
    assert [(e["stage"], e["of"]) for e in first["stages"]] == [
        ("download", None),
        ("format", "train"),
        ("format", "eval"),
        ("train", None),
        ("generate", "base"),
        ("generate", "tuned"),
        ("probe", "base"),
        ("probe", "tuned"),
        ("score", None),
        ("promote", None),
        ("report", None),
    ]
    assert {e["status"] for e in first["stages"]} == {"run"}
    dataset = pq.read_table(folder(first, "download") / "test.parquet")
    assert dataset.column_names == ["id", "dialogue", "references", "topics"]
    assert {len(references) for references in dataset["references"].to_pylist()} == {3}
    tuned = pq.read_table(folder(first, "generate", "tuned") / "predictions.parquet")
    assert tuned.column_names == ["id", "prediction", "tokens", "stop"]
    assert tuned["id"].to_pylist() == dataset["id"].to_pylist()[:3]
    assert (folder(first, "train") / "adapter_model.safetensors").is_file()
    assert Path(first["report"]).read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.slow
def test_run_prints_the_headline_scores_of_both_models(first: dict[str, Any]) -> None:
    """F1 x 100 of four measures, equal to those of rouge_score on the stored predictions."""
    from rouge_score.rouge_scorer import RougeScorer

    dataset = {row["id"]: row for row in pq.read_table(folder(first, "download") / "test.parquet").to_pylist()}
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=True)
    for system in ("base", "tuned"):
        rows = pq.read_table(folder(first, "generate", system) / "predictions.parquet").to_pylist()
        for kind, value in first["scores"][system].items():
            each = [
                sum(
                    scorer.score(reference, row["prediction"])[kind].fmeasure
                    for reference in dataset[row["id"]]["references"]
                )
                / 3
                for row in rows
            ]
            assert value == pytest.approx(100 * sum(each) / len(each), abs=1e-4)


@pytest.mark.slow
def test_a_second_run_executes_nothing(first: dict[str, Any], command: Any) -> None:
    """In another process every stage is reused, with the same artifacts and the same scores."""
    again = command("run")
    assert {e["status"] for e in again["stages"]} == {"reused"}
    assert [e["artifact"] for e in again["stages"]] == [e["artifact"] for e in first["stages"]]
    assert again["scores"] == first["scores"]


@pytest.mark.slow
def test_evaluate_with_another_prompt_trains_nothing(first: dict[str, Any], command: Any) -> None:
    """Only prompts, summaries, scores and report are made, of the adapter that is there, beside its training prompt."""
    other = command("evaluate", "--prompt", "brief")
    assert [(e["stage"], e["of"], e["status"]) for e in other["stages"]] == [
        ("download", None, "reused"),
        ("format", "eval", "run"),
        ("generate", "base", "run"),
        ("generate", "tuned", "run"),
        ("format", "before", "reused"),
        ("generate", "before", "reused"),
        ("probe", "base", "run"),
        ("probe", "tuned", "run"),
        ("probe", "before", "reused"),
        ("score", None, "run"),
        ("report", None, "run"),
    ]
    assert "differs from the one the adapter was trained with" in Path(other["report"]).read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_unmet_condition_ends_with_exit_code_3_and_is_in_the_junit_file(
    first: dict[str, Any], command: Any, tmp_path: Path
) -> None:
    """The evaluation is complete all the same: its scores are printed, and its artifacts are in the store."""
    conditions = ["--require", "rouge1 >= base - 100", "--require", "rouge1 >= 100", "--junit", f"{tmp_path}/a.xml"]
    evaluated = command("evaluate", *conditions, returncode=3)
    assert [(result["condition"], result["met"]) for result in evaluated["conditions"]] == [
        ("rouge1 >= base - 100", True),
        ("rouge1 >= 100", False),
    ]
    assert evaluated["scores"] == first["scores"]
    assert "dialogsum: 1 of 2 conditions not met: rouge1 >= 100: rouge1 is " in evaluated["stderr"].splitlines()[-1]
    assert [case.find("failure") is None for case in ElementTree.parse(tmp_path / "a.xml").iter("testcase")] == [
        True,
        False,
    ]
    assert len(command("evaluate", *conditions[:2])["conditions"]) == 1


@pytest.mark.slow
def test_show_verifies_an_artifact_with_its_lineage(first: dict[str, Any], command: Any) -> None:
    """The report's lineage reaches the dataset, and a flipped byte anywhere in it is reported with exit 1."""
    report = next(e["artifact"] for e in first["stages"] if e["stage"] == "report")
    store = Path(first["stages"][0]["path"]).parent.parent
    shown = run_cli("show", report, "--json", DIALOGSUM_STORE=str(store))
    lineage = json.loads(shown.stdout)["lineage"]
    assert shown.returncode == 0
    assert {e["artifact"] for e in lineage} == {e["artifact"] for e in first["stages"]}
    assert {e["state"] for e in lineage} == {"whole"}
    adapter = folder(first, "train") / "adapter_model.safetensors"
    content = adapter.read_bytes()
    try:
        adapter.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        damaged = run_cli("show", report, DIALOGSUM_STORE=str(store))
    finally:
        adapter.write_bytes(content)
    assert damaged.returncode == 1
    assert "adapter_model.safetensors was altered" in damaged.stderr

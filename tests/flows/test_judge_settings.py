"""The section `judge` of a recipe: what it resolves to, what it refuses, and that no judge changes nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from flows import dag
from flows.judge_agreement import agreement_of, keep_agreement
from flows.judge_settings import resolve_judge
from flows.local_steps import LocalSteps
from flows.planner import Planner
from flows.recipe import load_recipe
from tasks.config import JudgeAgreement, JudgeConfig, JudgeSpec, Runtime
from tasks.execution.stage import Stage
from tasks.metrics.scores import Scores
from tasks.workers.events import NullListener
from tests.support.judges import tiny_classifier
from tests.support.pipelines import small_overrides

URL = "https://api.example.org/v1"


def judge(**settings: Any) -> JudgeConfig:
    recipe = load_recipe("quickstart", [f"judge.{key}={json.dumps(value)}" for key, value in settings.items()])
    return recipe.judge


def test_a_recipe_without_a_judge_has_none() -> None:
    assert resolve_judge(judge()) is None
    assert resolve_judge(judge(threshold=0.9, dialogues=3)) is None


def test_a_folder_is_pinned_by_its_bytes(tmp_path: Path, models: dict[str, Path]) -> None:
    folder = tiny_classifier(tmp_path / "judge", models["llama"])
    first = resolve_judge(judge(model=str(folder), threshold=0.3))
    assert first is not None
    assert first.classifier is not None
    assert (first.name, first.classifier.threshold) == ("judge", 0.3)
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert resolve_judge(judge(model=str(folder), threshold=0.3)) != first


def test_an_endpoint_gets_the_prompt_of_the_library() -> None:
    spec = resolve_judge(judge(endpoint=f"{URL}/", name="lab/Some-Model"))
    assert spec is not None
    assert spec.endpoint is not None
    assert (spec.name, spec.endpoint.url) == ("some-model", URL)
    assert spec.endpoint.template.count("{dialogue}") == spec.endpoint.template.count("{summary}") == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "a/b", "endpoint": URL, "name": "x"}, "give one of them"),
        ({"endpoint": URL}, "endpoint needs name"),
        ({"endpoint": "api.example.org", "name": "x"}, "not a URL"),
        ({"endpoint": "https://me:secret@example.org/v1", "name": "x"}, "credential"),
        ({"endpoint": f"{URL}?api_key=1", "name": "x"}, "credential"),
        ({"endpoint": URL, "name": "x", "prompt": "Rate {dialogue}"}, r"judge.prompt contains \{summary\} 0 times"),
        ({"endpoint": URL, "name": "x", "prompt": "{summary}"}, "judge.prompt: no prompt"),
        ({"model": "./missing"}, r"judge.model: no model in"),
        ({"model": "a b"}, r"judge.model: 'a b' is neither a hub id"),
        ({"model": "lab/judge"}, r"judge.model: HF_HUB_OFFLINE is set"),
    ],
)
def test_a_judge_that_cannot_work_is_refused_before_anything_runs(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        resolve_judge(judge(**settings))


def planned(overrides: list[str]) -> dict[str, str]:
    """Stage and variant -> id of its artifact, which has the first digits of the key."""
    ids: dict[str, str] = {}
    planner = Planner()

    def step(stage: Stage, variant: str | None, spec: Any, **inputs: Any) -> Any:
        artifact = planner.step(stage, variant, spec, **inputs)
        ids[" ".join(filter(None, [stage.name, variant]))] = artifact.id
        return artifact

    dag.retrain(dag.resolve_recipe(load_recipe("quickstart", overrides)), step)
    return ids


def test_a_judge_changes_the_keys_of_scores_and_what_follows_alone(
    store: Store, tmp_path: Path, models: dict[str, Path], data: Path
) -> None:
    """Settings of a judge that is not there change no key and not the recipe's revision."""
    small = small_overrides("quickstart", models["llama"], data)
    folder = tiny_classifier(tmp_path / "judge", models["llama"])
    plain, unused = planned(small), planned([*small, "judge.threshold=0.9"])
    judged = planned([*small, f"judge.model={folder}"])
    assert unused == plain
    assert judged.keys() - plain.keys() == {"judge references", "judge base", "judge tuned"}
    changed = {name for name, artifact in plain.items() if artifact != judged[name]}
    assert changed == {"score", "promote", "report"}
    revision = load_recipe("quickstart").revision
    assert load_recipe("quickstart", ["judge.threshold=0.9"]).revision == revision
    assert load_recipe("quickstart", [f"judge.model={folder}"]).revision != revision


def agreement(data: str, auroc: float) -> JudgeAgreement:
    return JudgeAgreement(data=data, auroc=auroc, interval=(auroc - 0.05, auroc + 0.05), summaries=384)


def test_the_agreement_is_that_of_the_data_that_was_opened_last(store: Store) -> None:
    """Measured again, the first data set is replaced and the last remains; another judge has none."""
    spec, other = (resolve_judge(judge(endpoint=URL, name=name)) for name in ("one", "other"))
    assert spec is not None
    assert other is not None
    assert agreement_of(spec) is None
    keep_agreement(spec, [agreement("SAMSum", 0.6), agreement("DialogSum", 0.7)])
    keep_agreement(spec, [agreement("SAMSum", 0.65)])
    assert agreement_of(spec.model_copy(update={"dialogues": 5})) == agreement("DialogSum", 0.7)
    assert agreement_of(other) is None


@pytest.mark.usefixtures("workers_inline")
def test_a_run_shows_the_judge_in_scores_and_report(
    store: Store, tmp_path: Path, models: dict[str, Path], data: Path
) -> None:
    """Until it is compared with people, the report says that it was not; afterwards only the report is made again."""
    folder = tiny_classifier(tmp_path / "judge", models["llama"])
    overrides = small_overrides("quickstart", models["llama"], data, f"judge.model={folder}", "judge.threshold=1")

    def run() -> tuple[Any, JudgeSpec]:
        resolved = dag.resolve_recipe(load_recipe("quickstart", overrides))
        assert resolved.judge is not None
        return dag.retrain(resolved, LocalSteps("test", Runtime(device="cpu"), NullListener()).step), resolved.judge

    first, spec = run()
    scores = Scores.load(store.payload(first.scores.path)).judge
    assert scores is not None
    assert {*scores.systems} == {"base", "tuned", "reference", "reference of another dialogue"}
    difference = scores.systems["tuned"].mean - scores.systems["base"].mean
    assert scores.differences["base"].mean == pytest.approx(difference, abs=1e-3)
    page = (store.payload(first.report.path) / "report.html").read_text()
    assert "judged by judge: the tuned model gets" in page
    assert "How far this judge agrees with people was not measured" in page
    assert "unsupported, says the judge: " in page
    keep_agreement(spec, [agreement("DialogSum", 0.66)])
    second, _ = run()
    assert (second.scores.id, second.report.id != first.report.id) == (first.scores.id, True)
    for name in ("report.html", "report.md"):
        text = (store.payload(second.report.path) / name).read_text().replace("\\", "")
        assert "This measure agrees with people to 0.66 (0.61 to 0.71; AUROC on 384 summaries of DialogSum" in text

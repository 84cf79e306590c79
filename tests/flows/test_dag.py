"""The DAG itself: what it refuses before a GPU works, and which settings reach which stage."""

from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from artifacts.errors import RequestError
from artifacts.manifest import Manifest
from flows import dag
from flows.adapter_lookup import decoding_of
from flows.dag import ResolvedRecipe
from flows.planner import Planner
from flows.recipe import load_recipe
from tasks.config import GenerateSpec, ResolvedModel
from tasks.execution.stage import Stage
from tests.support.data import write_csv
from tests.support.data_stages import dialogue_row, run_and_publish
from tests.support.models import publish_adapter


class NextStepError(Exception):
    """A stage after download was reached."""


def download_only(stage: Stage, variant: str | None, spec: Any, **inputs: Manifest) -> Manifest:
    if stage.name != "download":
        raise NextStepError
    return run_and_publish(stage, spec)


def resolved_recipe(model: Path, data: Path, *overrides: str) -> ResolvedRecipe:
    return dag.resolve_recipe(
        load_recipe("quickstart", [f"model.source={model}", f"data.source={data}", *overrides]),
    )


@pytest.mark.parametrize(
    ("tokenizer", "summary", "refused"),
    [
        ("ascii", "Анна пишет.", True),
        ("auto", "Анна пишет.", False),
        ("unicode", "Анна пишет.", False),
        ("ascii", "Anna writes.", False),
    ],
)
def test_references_without_a_token_are_refused_before_anything_is_trained(
    store: Store, models: dict[str, Path], data: Path, tokenizer: str, summary: str, refused: bool
) -> None:
    """By `run` as soon as the data is there, and by `plan` once it is."""
    write_csv(data / "test.csv", [dialogue_row("x_0", "", "Tom."), dialogue_row("x_1", "", summary)])
    resolved = resolved_recipe(models["llama"], data, f"score.tokenizer={tokenizer}")
    dag.retrain(resolved, Planner().step)  # nothing is known about the data yet
    expected = pytest.raises(RequestError, match=r"score.tokenizer is ascii.* 1 references.*score.tokenizer=auto")
    with expected if refused else pytest.raises(NextStepError):
        dag.retrain(resolved, download_only)
    if refused:
        with pytest.raises(RequestError, match=r"score.tokenizer is ascii"):
            dag.retrain(resolved, Planner().step)


@pytest.mark.parametrize(("candidates", "expected"), [(1, "auto"), (4, "characters")])
def test_the_tokenizer_of_the_scores_changes_the_predictions_only_where_candidates_are_compared(
    store: Store, models: dict[str, Path], data: Path, candidates: int, expected: str
) -> None:
    resolved = resolved_recipe(models["llama"], data, "score.tokenizer=characters", f"generate.candidates={candidates}")
    planner, specs = Planner(), []

    def step(stage: Stage, variant: str | None, spec: Any, **inputs: Any) -> Any:
        if isinstance(spec, GenerateSpec):
            specs.append(spec.rouge_tokenizer)
        return planner.step(stage, variant, spec, **inputs)

    dag.retrain(resolved, step)
    assert specs == [expected] * 2
    assert resolved.candidate("train-1a2b3c4d").rouge_tokenizer == expected


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_champion_keeps_the_weights_that_it_was_evaluated_with(
    store: Store, models: dict[str, Path], data: Path, quantization: str
) -> None:
    """Whatever the recipe says later; with unquantized weights it equals one of a version without this setting."""
    champion = resolved_recipe(models["llama"], data, f"generate.quantization={quantization}").candidate("train-1")
    assert champion.generate.get("quantization", "none") == quantization
    assert decoding_of(champion)["quantization"] == quantization
    assert ("quantization" in champion.generate) == (quantization == "nf4")
    assert "limit" not in {*champion.generate, *decoding_of(champion)}
    assert decoding_of(champion.model_copy(update={"generate": {}})) == {}


class Quantizations(dict[str | None, str]):
    """Of the generations that a plan has: variant -> quantization."""

    def __init__(self) -> None:
        self.planner = Planner()

    def step(self, stage: Stage, variant: str | None, spec: Any, **inputs: Any) -> Any:
        if isinstance(spec, GenerateSpec):
            self[variant] = spec.generate.quantization
        return self.planner.step(stage, variant, spec, **inputs)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("model.quantization=nf4",), "nf4"),
        (("model.quantization=nf4", "generate.quantization=none"), "none"),
        ((), "none"),
        (("generate.quantization=nf4",), "nf4"),
    ],
)
def test_a_run_and_a_trial_generate_with_the_weights_of_the_training(
    store: Store, models: dict[str, Path], data: Path, overrides: tuple[str, ...], expected: str
) -> None:
    """The base model as well, with which the adapter is compared; the candidate is recorded with them."""
    resolved = resolved_recipe(models["llama"], data, *overrides)
    run, trial = Quantizations(), Quantizations()
    dag.retrain(resolved, run.step)
    dag.trial(resolved, trial.step)
    assert run == {"base": expected, "tuned": expected}
    assert trial == {"validation base": expected, "validation tuned": expected}
    assert resolved.candidate("train-1").generate.get("quantization", "none") == expected


def test_a_champion_recorded_before_there_was_a_quantization_stays_unquantized(
    store: Store, models: dict[str, Path], data: Path
) -> None:
    """Although its recipe now generates with NF4 weights, in which the candidate is compared with it."""
    resolved = resolved_recipe(models["llama"], data, "model.quantization=nf4")
    adapter = publish_adapter(store, models["llama"], data / "adapter", "Say it.\n\n{dialogue}", quantization="nf4")
    before = Champion(adapter=adapter, template="Say it.\n\n{dialogue}", turns="chatml", generate={"beams": 1})
    assert Champions(Store.current(), resolved.model.revision).promote(before, "score-00000000", "test")
    assert decoding_of(before)["quantization"] == "none"
    planned = Quantizations()
    dag.retrain(resolved_recipe(models["llama"], data, "model.quantization=nf4"), planned.step)
    assert planned == {"base": "nf4", "tuned": "nf4", "champion": "none"}


@pytest.mark.parametrize(("trained", "of_recipe"), [("nf4", "none"), ("none", "nf4")])
def test_an_existing_adapter_is_evaluated_with_the_weights_that_it_was_trained_on(
    store: Store, models: dict[str, Path], data: Path, trained: str, of_recipe: str
) -> None:
    """Whatever the recipe trains with, unless it or an override names the quantization of generation."""
    template = load_recipe("quickstart").prompt
    made = publish_adapter(store, models["llama"], data / "adapter", template, quantization=trained)
    adapter = store.by_id(made)
    recipe = resolved_recipe(models["llama"], data, f"model.quantization={of_recipe}")
    resolved = recipe.for_adapter(adapter)
    planned = Quantizations()
    dag.evaluate(resolved, planned.step, adapter)
    assert set(planned.values()) == {trained}
    assert resolved.candidate(made).generate.get("quantization", "none") == trained
    assert recipe.for_adapter(None) == recipe
    named = resolved_recipe(models["llama"], data, f"generate.quantization={of_recipe}").for_adapter(adapter)
    assert named.recipe.decoding.quantization == of_recipe


def test_another_form_of_the_weights_is_not_quantized_again(store: Store, models: dict[str, Path], data: Path) -> None:
    """`export --score` compares what was written with the model on NF4 weights that it was written from."""
    resolved = resolved_recipe(models["llama"], data, "generate.quantization=nf4")
    adapter = store.by_id(publish_adapter(store, models["llama"], data / "adapter", "Say it.\n\n{dialogue}"))
    planned = Quantizations()
    other = ResolvedModel(revision="1" * 64, location="elsewhere", origin="model.q8_0.gguf")
    dag.score_other_weights(resolved, planned.step, adapter, other, "q8_0")
    assert planned == {"tuned": "nf4", "q8_0": "none"}

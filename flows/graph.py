"""The graph: what happens, in what order. The same lines serve `run` (each step a Prefect task) and `plan` (nothing runs)."""

from collections.abc import Callable
from dataclasses import dataclass

from artifacts.manifest import Record
from flows.recipe import PROMPTS, Recipe
from tasks.config import DownloadSpec, FormatSpec, GenerateSpec, ResolvedData, ResolvedModel, TrainSpec
from tasks.download import DOWNLOAD
from tasks.format import FORMAT
from tasks.generate import GENERATE
from tasks.prompt import load_prompt
from tasks.report import REPORT
from tasks.score import SCORE
from tasks.sources import resolve_data, resolve_model
from tasks.stage import Input
from tasks.train import TRAIN

Step = Callable[..., Input]
"""`step(stage, of, spec, **inputs) -> artifact`."""


@dataclass(frozen=True)
class Setup:
    """A recipe after the world outside was asked: pinned data, pinned model, prompt texts."""

    recipe: Recipe
    data: ResolvedData
    model: ResolvedModel
    prompt: str
    evaluation_prompt: str


def set_up(recipe: Recipe) -> Setup:
    """Read the prompts, pin data and model. RequestError if any of them is not to be had."""
    prompt = load_prompt(recipe.prompt, PROMPTS)
    other = recipe.evaluation.prompt
    evaluation = load_prompt(other, PROMPTS, "evaluation.prompt") if other else prompt
    return Setup(recipe, resolve_data(recipe.data), resolve_model(recipe.model), prompt, evaluation)


def retrain(setup: Setup, step: Step) -> Input:
    """Everything from the data to the report."""
    dataset = _dataset(setup, step)
    rows = step(FORMAT, "train", _format(setup, "train"), dataset=dataset)
    prompts = step(FORMAT, "eval", _format(setup, "eval"), dataset=dataset)
    adapter = step(TRAIN, None, _train(setup), rows=rows)
    return _evaluate(setup, step, dataset, prompts, adapter)


def evaluate(setup: Setup, step: Step, adapter: Input | None) -> Input:
    """An adapter that is there, or the base model alone, under this recipe's evaluation prompt and decoding."""
    dataset = _dataset(setup, step)
    prompts = step(FORMAT, "eval", _format(setup, "eval"), dataset=dataset)
    return _evaluate(setup, step, dataset, prompts, adapter)


def _dataset(setup: Setup, step: Step) -> Input:
    return step(DOWNLOAD, None, DownloadSpec(data=setup.data))


def _evaluate(setup: Setup, step: Step, dataset: Input, prompts: Input, adapter: Input | None) -> Input:
    base = step(GENERATE, "base", _generate(setup), rows=prompts)
    made = {"base": base}
    if adapter is not None:
        made["tuned"] = step(GENERATE, "tuned", _generate(setup), rows=prompts, adapter=adapter)
    scores = step(SCORE, None, setup.recipe.score, dataset=dataset, **made)
    trained = {"adapter": adapter} if adapter is not None else {}
    return step(REPORT, None, setup.recipe.report, dataset=dataset, prompts=prompts, scores=scores, **made, **trained)


def _format(setup: Setup, rows: str) -> Record:
    template = setup.prompt if rows == "train" else setup.evaluation_prompt
    return FormatSpec(rows=rows, template=template, allow_overlap=setup.recipe.data.allow_overlap)  # type: ignore[arg-type]


def _train(setup: Setup) -> Record:
    model = setup.recipe.model
    return TrainSpec(model=setup.model, turns=model.turns, quantization=model.quantization, train=setup.recipe.train)


def _generate(setup: Setup) -> Record:
    turns = setup.recipe.evaluation.turns or setup.recipe.model.turns
    return GenerateSpec(model=setup.model, turns=turns, generate=setup.recipe.generate)

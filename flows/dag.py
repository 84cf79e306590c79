"""The graph: what happens, in what order. The same lines serve `run` (each step a Prefect task) and `plan` (nothing runs)."""

from collections.abc import Callable
from dataclasses import dataclass, field

from artifacts.artifact_store import DamageError, Store
from artifacts.champions import Champion, Champions
from artifacts.errors import RequestError
from artifacts.manifest import Manifest
from artifacts.record import Record
from artifacts.text import one_line
from flows.evaluation_history import evaluations_before
from flows.labels import Overrides, prompt_labels
from flows.recipe import PROMPTS, Recipe
from tasks.config import (
    DownloadSpec,
    FormatSpec,
    GenerateConfig,
    GenerateSpec,
    PromoteSpec,
    ReportSpec,
    ResolvedData,
    ResolvedModel,
    TrainSpec,
)
from tasks.download import DOWNLOAD
from tasks.execution.decision import Input
from tasks.format import FORMAT
from tasks.generate import GENERATE
from tasks.models.prompt_template import load_prompt
from tasks.promote import PROMOTE
from tasks.report import REPORT
from tasks.score import SCORE
from tasks.sources.resolve import resolve_data, resolve_model
from tasks.train import TRAIN

Step = Callable[..., Input]
"""`step(stage, of, spec, **inputs) -> artifact`."""


@dataclass(frozen=True)
class Setup:
    """A recipe after the world outside was asked: pinned data, pinned model, prompt texts, who is champion."""

    recipe: Recipe
    data: ResolvedData
    model: ResolvedModel
    prompt: str
    evaluation_prompt: str
    champions: Champions
    overrides: Overrides = field(default_factory=Overrides)
    """What the recipe was changed by, for people."""

    @property
    def turns(self) -> str:
        """Turn template at generation."""
        return self.recipe.evaluation.turns or self.recipe.model.turns

    def candidate(self, adapter: str) -> Champion:
        """An adapter with this recipe's way of asking it."""
        decoding = self.recipe.generate.model_dump(mode="json", exclude={"limit"})
        return Champion(adapter=adapter, template=self.evaluation_prompt, turns=self.turns, generate=decoding)


@dataclass(frozen=True)
class Outcome:
    """What the graph ends with."""

    scores: Input
    report: Input
    adapter: Input | None = None
    decision: Input | None = None
    seeds: tuple[Input, ...] = ()
    """Scores of the further seeds."""


def set_up(recipe: Recipe, overrides: Overrides | None = None) -> Setup:
    """Read the prompts, pin data and model. RequestError if any of them is not to be had.

    overrides: those that are in the recipe already, for people.
    """
    prompt = load_prompt(recipe.prompt, PROMPTS)
    other = recipe.evaluation.prompt
    evaluation = load_prompt(other, PROMPTS, "evaluation.prompt") if other else prompt
    model = resolve_model(recipe.model)
    champions = Champions(Store.current(), model.revision)
    return Setup(recipe, resolve_data(recipe.data), model, prompt, evaluation, champions, overrides or Overrides())


def retrain(setup: Setup, step: Step) -> Outcome:
    """Everything from the data to the decision and the report."""
    dataset = _dataset(setup, step)
    rows = step(FORMAT, "train", _format(setup, "train", setup.prompt), dataset=dataset)
    prompts = step(FORMAT, "eval", _format(setup, "eval", setup.evaluation_prompt), dataset=dataset)
    adapter = step(TRAIN, None, _train(setup), rows=rows)
    base = step(GENERATE, "base", _generate(setup), rows=prompts)
    seeds = {}
    for seed in range(setup.recipe.train.seed + 1, setup.recipe.train.seed + setup.recipe.seeds):
        other = step(TRAIN, f"seed {seed}", _train(setup, seed), rows=rows)
        tuned = step(GENERATE, f"seed {seed}", _generate(setup), rows=prompts, adapter=other)
        seeds[f"seed_{seed}"] = step(SCORE, f"seed {seed}", setup.recipe.score, dataset=dataset, base=base, tuned=tuned)
    withdrawn = setup.champions.withdrawn_at(setup.candidate(adapter.id))
    gate = PromoteSpec(gate=setup.recipe.gate, withdrawn_at=withdrawn)
    return _judge(setup, step, dataset, prompts, base, adapter, gate=gate, seeds=seeds)


def evaluate(setup: Setup, step: Step, adapter: Manifest | None, gated: bool = False) -> Outcome:
    """An adapter that is there, or the base model alone, under this recipe's evaluation prompt and decoding.

    With another prompt than it was trained on, the adapter is scored under both. With `gated`, the gate decides.
    """
    dataset = _dataset(setup, step)
    prompts = step(FORMAT, "eval", _format(setup, "eval", setup.evaluation_prompt), dataset=dataset)
    base = step(GENERATE, "base", _generate(setup), rows=prompts)
    before = None
    if adapter is not None:
        trained = {"template": adapter.facts["template"], "turns": adapter.identity["config"]["turns"]}
        asked = setup.candidate(adapter.id)
        before = asked.model_copy(update=trained) if asked.model_copy(update=trained) != asked else None
    gate = PromoteSpec(gate=setup.recipe.gate) if gated else None
    return _judge(setup, step, dataset, prompts, base, adapter, before=before, gate=gate)


def _judge(
    setup: Setup,
    step: Step,
    dataset: Input,
    prompts: Input,
    base: Input,
    adapter: Input | None,
    before: Champion | None = None,
    gate: PromoteSpec | None = None,
    seeds: dict[str, Input] | None = None,
) -> Outcome:
    """Score the candidate beside base, champion and as it was asked before; decide; report."""
    made, templates = {"base": base}, {"base": setup.evaluation_prompt}
    if adapter is not None:
        templates["tuned"] = setup.evaluation_prompt
        made["tuned"] = step(GENERATE, "tuned", _generate(setup), rows=prompts, adapter=adapter)
        rival = setup.champions.rival(setup.candidate(adapter.id))
        if gate is None and rival is not None and rival.adapter == adapter.id:
            before, rival = before or rival, None  # asked otherwise, not another model
        if rival is not None:
            made["champion"], templates["champion"] = _as_asked(setup, step, dataset, "champion", rival), rival.template
        if before is not None and before != rival:
            made["before"], templates["before"] = _as_asked(setup, step, dataset, "before", before), before.template
    scores = step(SCORE, None, setup.recipe.score, dataset=dataset, **made)
    more = {"adapter": adapter} if adapter is not None else {}
    if gate is not None:
        more["decision"] = step(PROMOTE, None, gate, scores=scores)
    earlier = evaluations_before(scores.id, setup.model.revision)
    spec = ReportSpec(report=setup.recipe.report, history=earlier, prompts=prompt_labels(templates))
    more |= seeds or {}
    report = step(REPORT, None, spec, dataset=dataset, prompts=prompts, scores=scores, **made, **more)
    return Outcome(scores, report, adapter, more.get("decision"), tuple((seeds or {}).values()))


def _as_asked(setup: Setup, step: Step, dataset: Input, of: str, asked: Champion) -> Input:
    """Predictions of another adapter on the same dialogues, under the prompt and decoding it was judged by."""
    prompts = step(FORMAT, of, _format(setup, "eval", asked.template), dataset=dataset)
    decoding = GenerateConfig.model_validate(asked.generate | {"limit": setup.recipe.generate.limit})
    spec = GenerateSpec(model=setup.model, turns=asked.turns, generate=decoding)  # type: ignore[arg-type]
    return step(GENERATE, of, spec, rows=prompts, adapter=_whole(asked.adapter))


def _whole(adapter: str) -> Manifest:
    """RequestError if an adapter that is to be compared with is gone or damaged."""
    store = Store.current()
    try:
        return store.verified(store.by_id(adapter).path)
    except (RequestError, DamageError) as error:
        raise RequestError(
            f"{adapter}, which has to be compared with, is not whole ({one_line(error, 120)}): train it again by its recipe, "
            "or take it back with `dialogsum rollback`"
        ) from error


def _dataset(setup: Setup, step: Step) -> Input:
    return step(DOWNLOAD, None, DownloadSpec(data=setup.data))


def _format(setup: Setup, rows: str, template: str) -> Record:
    return FormatSpec(rows=rows, template=template, allow_overlap=setup.recipe.data.allow_overlap)  # type: ignore[arg-type]


def _train(setup: Setup, seed: int | None = None) -> Record:
    model, train = setup.recipe.model, setup.recipe.train
    if seed is not None:
        train = train.model_copy(update={"seed": seed})
    return TrainSpec(model=setup.model, turns=model.turns, quantization=model.quantization, train=train)


def _generate(setup: Setup) -> Record:
    return GenerateSpec(model=setup.model, turns=setup.turns, generate=setup.recipe.generate)  # type: ignore[arg-type]

"""The DAG: the stages and their order. `run` executes each step as a Prefect task; `plan` executes nothing."""

from dataclasses import dataclass, field, replace
from typing import Literal

from artifacts.artifact_store import DamageError, Store
from artifacts.cache_key import UNKNOWN, identity_of
from artifacts.champions import Champion, Champions
from artifacts.errors import RequestError
from artifacts.manifest import Manifest
from artifacts.record import Record
from artifacts.text import one_line
from flows.adapter_lookup import TRIAL
from flows.champion_data import champion_data
from flows.distillation import Step, TrainedAdapter, distilled_from, train_adapter
from flows.evaluation_history import evaluations_before
from flows.fact_steps import Probed, probes
from flows.judge_agreement import agreement_of
from flows.judge_settings import resolve_judge
from flows.labels import Overrides, prompt_labels
from flows.recipe import PROMPTS, Recipe
from flows.review_lookup import newest_review
from tasks.config import (
    DownloadSpec,
    FormatSpec,
    GenerateConfig,
    GenerateSpec,
    JudgeSpec,
    PromoteSpec,
    ReportSpec,
    ResolvedData,
    ResolvedModel,
    ScoreSpec,
    TokenizerName,
    TrainSpec,
)
from tasks.download import DOWNLOAD
from tasks.execution.decision import Input
from tasks.format import FORMAT
from tasks.generate import GENERATE
from tasks.judge import JUDGE
from tasks.manifest_views import AdapterView, DatasetView
from tasks.metrics.judge_scores import REFERENCES, judge_role
from tasks.metrics.score_table import System
from tasks.models.prompt_template import load_prompt
from tasks.promote import PROMOTE
from tasks.report import REPORT
from tasks.score import SCORE
from tasks.sources.resolve import resolve_data, resolve_model


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe with its data and model pinned, its prompts loaded, and the champion of its base model."""

    recipe: Recipe
    data: ResolvedData
    model: ResolvedModel
    prompt: str
    evaluation_prompt: str
    champions: Champions
    overrides: Overrides = field(default_factory=Overrides)
    """The overrides in the recipe, for names and pages."""
    judge: JudgeSpec | None = None

    @property
    def turns(self) -> str:
        """Turn template at generation."""
        return self.recipe.evaluation.turns or self.recipe.model.turns

    @property
    def rouge_tokenizer(self) -> TokenizerName:
        """Tokens by which candidates are compared; always the same where there are none, so that no key changes."""
        return self.recipe.score.tokenizer if self.recipe.generate.candidates > 1 else "auto"

    def for_adapter(self, adapter: Manifest | None) -> "ResolvedRecipe":
        """To evaluate an existing adapter, which another recipe may have trained; None: the base model alone."""
        if adapter is None:
            return self
        return replace(self, recipe=self.recipe.for_adapter(AdapterView(adapter).quantization))

    def candidate(self, adapter: str) -> Champion:
        """An adapter with this recipe's evaluation prompt, chat template and decoding settings."""
        return Champion(
            adapter=adapter,
            template=self.evaluation_prompt,
            turns=self.turns,
            generate={key: value for key, value in identity_of(self.recipe.decoding).items() if key != "limit"},
            rouge_tokenizer=self.rouge_tokenizer,
        )


@dataclass(frozen=True)
class Outcome:
    """The artifacts at the end of the DAG."""

    scores: Input
    report: Input
    adapter: Input | None = None
    decision: Input | None = None
    seeds: tuple[Input, ...] = ()
    """Scores of the further seeds."""


def resolve_recipe(
    recipe: Recipe, overrides: Overrides | None = None, pinned: ResolvedRecipe | None = None
) -> ResolvedRecipe:
    """Load the prompts and pin data and model. RequestError if one of them is not available.

    overrides: are in the recipe already; they are kept for names and pages.
    pinned: has the same data; the model stays pinned to the same bytes if the recipe names the same.
    """
    prompt = load_prompt(recipe.prompt, PROMPTS)
    other = recipe.evaluation.prompt
    evaluation = load_prompt(other, PROMPTS, "evaluation.prompt") if other else prompt
    same_model = pinned is not None and all(
        getattr(pinned.recipe.model, name) == getattr(recipe.model, name) for name in ("source", "revision")
    )
    model = pinned.model if pinned and same_model else resolve_model(recipe.model)
    data = pinned.data if pinned else resolve_data(recipe.data)
    champions = Champions(Store.current(), model.revision)
    judge = resolve_judge(recipe.judge)
    return ResolvedRecipe(recipe, data, model, prompt, evaluation, champions, overrides or Overrides(), judge)


def retrain(resolved: ResolvedRecipe, step: Step) -> Outcome:
    """Run everything from the data to the decision and the report."""
    dataset = _dataset(resolved, step)
    rows = step(FORMAT, "train", _format(resolved, "train", resolved.prompt), dataset=dataset)
    prompts = step(FORMAT, "eval", _format(resolved, "eval", resolved.evaluation_prompt), dataset=dataset)
    trained = _adapter(resolved, step, rows, None)
    base = step(GENERATE, System.BASE, _generate(resolved), rows=prompts)
    seeds = {}
    for seed in range(resolved.recipe.train.seed + 1, resolved.recipe.train.seed + resolved.recipe.seeds):
        other = _adapter(resolved, step, rows, f"seed {seed}", seed).adapter
        tuned = step(GENERATE, f"seed {seed}", _generate(resolved), rows=prompts, adapter=other)
        seeds[f"seed_{seed}"] = step(SCORE, f"seed {seed}", _score(resolved), dataset=dataset, base=base, tuned=tuned)
    withdrawn = resolved.champions.withdrawn_at(resolved.candidate(trained.adapter.id))
    gate = PromoteSpec(gate=resolved.recipe.gate, withdrawn_at=withdrawn)
    return _evaluate_and_report(resolved, step, dataset, prompts, base, trained, gate=gate, seeds=seeds)


def evaluate(resolved: ResolvedRecipe, step: Step, adapter: Manifest | None, gated: bool = False) -> Outcome:
    """Evaluate an existing adapter, or the base model alone, with this recipe's prompt and decoding settings.

    An adapter that was trained with another prompt is scored with both prompts. With `gated`, the gate decides.
    resolved: made by `for_adapter`, by the caller, which records the champion with the same settings.
    """
    dataset = _dataset(resolved, step)
    prompts = step(FORMAT, "eval", _format(resolved, "eval", resolved.evaluation_prompt), dataset=dataset)
    base = step(GENERATE, System.BASE, _generate(resolved), rows=prompts)
    previous = None
    if adapter is not None:
        trained = {"template": AdapterView(adapter).template, "turns": AdapterView(adapter).turns}
        settings = resolved.candidate(adapter.id)
        previous = settings.model_copy(update=trained) if settings.model_copy(update=trained) != settings else None
    gate = PromoteSpec(gate=resolved.recipe.gate) if gated else None
    existing = TrainedAdapter(adapter, distilled_from(adapter)) if adapter else None
    return _evaluate_and_report(resolved, step, dataset, prompts, base, existing, previous=previous, gate=gate)


def score_other_weights(
    resolved: ResolvedRecipe, step: Step, adapter: Manifest, other: ResolvedModel, name: str
) -> Input:
    """Score an adapter's model and another form of its weights, with the same prompts and the same decoding.

    In the scores, `tuned` is the other form and `base` the adapter on its base model. The other form has its own
    precision, so that `generate.quantization` does not apply to it.
    """
    dataset = _dataset(resolved, step)
    prompts = step(FORMAT, "eval", _format(resolved, "eval", resolved.evaluation_prompt), dataset=dataset)
    tuned = step(GENERATE, System.TUNED, _generate(resolved), rows=prompts, adapter=adapter)
    as_it_is = resolved.recipe.generate.model_copy(update={"quantization": "none"})
    recipe = resolved.recipe.model_copy(update={"generate": as_it_is})
    predictions = step(GENERATE, name, _generate(replace(resolved, model=other, recipe=recipe)), rows=prompts)
    return step(SCORE, name, _score(resolved), dataset=dataset, base=tuned, tuned=predictions)


def trial(resolved: ResolvedRecipe, step: Step) -> Input:
    """Train, and score the adapter and the base model on the validation split. Returns the scores."""
    dataset = _dataset(resolved, step)
    rows = step(FORMAT, "train", _format(resolved, "train", resolved.prompt), dataset=dataset)
    adapter = _adapter(resolved, step, rows, TRIAL).adapter
    prompts = step(FORMAT, "validation", _format(resolved, "validation", resolved.evaluation_prompt), dataset=dataset)
    base = step(GENERATE, "validation base", _generate(resolved), rows=prompts)
    tuned = step(GENERATE, "validation tuned", _generate(resolved), rows=prompts, adapter=adapter)
    return step(SCORE, "validation", _score(resolved, "validation"), dataset=dataset, base=base, tuned=tuned)


def _evaluate_and_report(
    resolved: ResolvedRecipe,
    step: Step,
    dataset: Input,
    prompts: Input,
    base: Input,
    trained: TrainedAdapter | None,
    previous: Champion | None = None,
    gate: PromoteSpec | None = None,
    seeds: dict[str, Input] | None = None,
) -> Outcome:
    """Score the candidate together with the base model, the champion and its previous prompt; decide; report."""
    predictions: dict[str, Input] = {System.BASE: base}
    templates: dict[str, str] = {System.BASE: resolved.evaluation_prompt}
    probed: dict[str, Probed] = {System.BASE: Probed(prompts, resolved.turns, resolved.recipe.decoding, None)}
    data, champion_dataset = None, None
    adapter = trained.adapter if trained else None
    if adapter is not None:
        templates[System.TUNED] = resolved.evaluation_prompt
        predictions[System.TUNED] = step(GENERATE, System.TUNED, _generate(resolved), rows=prompts, adapter=adapter)
        probed[System.TUNED] = replace(probed[System.BASE], adapter=adapter)
        rival = resolved.champions.rival(resolved.candidate(adapter.id))
        if rival is not None:
            data, champion_dataset = champion_data(rival.adapter, dataset)
        if gate is None and rival is not None and rival.adapter == adapter.id:
            previous, rival = previous or rival, None  # the same adapter with other settings, not another model
        if rival is not None:
            other = probed[System.CHAMPION] = _evaluated(resolved, step, dataset, System.CHAMPION, rival)
            predictions[System.CHAMPION] = _predictions_of(resolved, step, System.CHAMPION, rival, other)
            templates[System.CHAMPION] = rival.template
        if previous is not None and previous != rival:
            other = probed[System.PREVIOUS] = _evaluated(resolved, step, dataset, System.PREVIOUS, previous)
            predictions[System.PREVIOUS] = _predictions_of(resolved, step, System.PREVIOUS, previous, other)
            templates[System.PREVIOUS] = previous.template
    facts = probes(resolved.recipe.probe, resolved.model, step, dataset, probed)
    judgements = _judgements(resolved, step, dataset, predictions)
    scores = step(SCORE, None, _score(resolved), dataset=dataset, **predictions, **facts, **judgements)
    optional = {"adapter": adapter} if adapter is not None else {}
    optional |= {f"made_from_{i}": made for i, made in enumerate(trained.distilled_from if trained else (), 1)}
    if gate is not None:
        optional["decision"] = step(PROMOTE, None, gate, scores=scores, **_review(gate, predictions))
    earlier = evaluations_before(scores, resolved.model.revision)
    prompt_names = prompt_labels(templates)
    spec = ReportSpec(
        report=resolved.recipe.report,
        history=earlier,
        prompts=prompt_names,
        champion_data=data,
        judge_agreement=agreement_of(resolved.judge) if resolved.judge else None,
    )
    optional |= (seeds or {}) | judgements
    if champion_dataset is not None:
        optional["champion_dataset"] = champion_dataset
    report = step(
        REPORT, None, spec, dataset=dataset, prompts=prompts, scores=scores, **predictions, **facts, **optional
    )
    return Outcome(scores, report, adapter, optional.get("decision"), tuple((seeds or {}).values()))


def _judgements(
    resolved: ResolvedRecipe, step: Step, dataset: Input, predictions: dict[str, Input]
) -> dict[str, Input]:
    """Judgements of every system's summaries and of the references, as inputs of `score`; empty without a judge."""
    if resolved.judge is None:
        return {}
    references = step(JUDGE, REFERENCES, resolved.judge, dataset=dataset)
    return {judge_role(REFERENCES): references} | {
        judge_role(system): step(JUDGE, system, resolved.judge, dataset=dataset, predictions=output)
        for system, output in predictions.items()
    }


def _score(resolved: ResolvedRecipe, split: Literal["test", "validation"] = "test") -> Record:
    return ScoreSpec(**resolved.recipe.score.model_dump(), split=split)


def _review(gate: PromoteSpec, predictions: dict[str, Input]) -> dict[str, Input]:
    """The review that the gate reads, as an input of `promote`; empty if it requires none or there is none."""
    if gate.gate.least_win_rate is None:
        return {}
    opponent = predictions.get(System.CHAMPION, predictions[System.BASE])
    review = newest_review(predictions[System.TUNED].digest, opponent.digest)
    return {"review": review} if review else {}


def _evaluated(resolved: ResolvedRecipe, step: Step, dataset: Input, variant: str, settings: Champion) -> Probed:
    """Another adapter with its own prompt and settings, on the dialogues of this recipe."""
    prompts = step(FORMAT, variant, _format(resolved, "eval", settings.template), dataset=dataset)
    decoding = GenerateConfig.model_validate(settings.generate | {"limit": resolved.recipe.generate.limit})
    return Probed(prompts, settings.turns, decoding, _verified_adapter(settings.adapter))


def _predictions_of(resolved: ResolvedRecipe, step: Step, variant: str, settings: Champion, other: Probed) -> Input:
    """Predictions of another adapter on the same dialogues, with its own prompt and decoding settings."""
    spec = GenerateSpec.model_validate(
        {"model": resolved.model, "turns": other.turns, "generate": other.generate}
        | {"rouge_tokenizer": settings.rouge_tokenizer}
    )
    return step(GENERATE, variant, spec, rows=other.prompts, adapter=other.adapter)


def _verified_adapter(adapter: str) -> Manifest:
    """The manifest of an adapter to compare with. RequestError if it is missing or damaged."""
    store = Store.current()
    try:
        return store.verified(store.by_id(adapter).path)
    except (RequestError, DamageError) as error:
        raise RequestError(
            f"{adapter}, the model to compare with, is missing or damaged ({one_line(error, 120)}): "
            "retrain it with its recipe, or withdraw it with `dialogsum rollback`"
        ) from error


def _dataset(resolved: ResolvedRecipe, step: Step) -> Input:
    """The dataset. RequestError if the recipe's tokenizer finds no token in a reference, before anything is trained."""
    dataset = step(DOWNLOAD, None, DownloadSpec(data=resolved.data))
    # download refuses references in which the other tokenizers find no token; a planned dataset may not exist yet
    if resolved.recipe.score.tokenizer == "ascii" and not dataset.digest.startswith(UNKNOWN):
        count = DatasetView(Store.current().by_id(dataset.id)).references_without_ascii
        if count:
            raise RequestError(
                f"score.tokenizer is ascii, which finds no token in {count} references of the test split of "
                f"{resolved.data.origin}, so every summary would score 0 against them: set score.tokenizer=auto"
            )
    return dataset


def _format(resolved: ResolvedRecipe, rows: str, template: str) -> Record:
    overlap = resolved.recipe.data.allow_overlap
    return FormatSpec(rows=rows, template=template, allow_overlap=overlap)  # type: ignore[arg-type]


def _adapter(
    resolved: ResolvedRecipe, step: Step, rows: Input, variant: str | None, seed: int | None = None
) -> TrainedAdapter:
    return train_adapter(_train(resolved, seed), resolved.recipe.score.tokenizer, step, rows, variant)


def _train(resolved: ResolvedRecipe, seed: int | None = None) -> TrainSpec:
    model, train = resolved.recipe.model, resolved.recipe.train
    if seed is not None:
        train = train.model_copy(update={"seed": seed})
    return TrainSpec(model=resolved.model, turns=model.turns, quantization=model.quantization, train=train)


def _generate(resolved: ResolvedRecipe) -> Record:
    return GenerateSpec.model_validate(
        {"model": resolved.model, "turns": resolved.turns, "generate": resolved.recipe.decoding}
        | {"rouge_tokenizer": resolved.rouge_tokenizer}
    )

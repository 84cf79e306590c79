"""The history of evaluations in the store, with the decision of the gate for each."""

from collections.abc import Iterable
from typing import Any

from artifacts.artifact_store import Store
from artifacts.cache_key import sha256
from artifacts.champions import Champions
from artifacts.manifest import Manifest
from artifacts.record import Record
from flows.labels import prompt_label
from tasks.config import Evaluation
from tasks.execution.decision import Input
from tasks.manifest_views import DatasetView, DecisionView, FormattedRowsView, PredictionsView, ScoresView
from tasks.metrics.score_table import HEADLINE_TYPE, System


class SplitUse(Record):
    """How often the test split has been used to score models of a recipe, by what is in the store."""

    recipe: str
    settings: int
    """Distinct pairs of an adapter, or the base model alone, and its prompt and decoding, that were scored."""
    adapters: int
    """Distinct adapters among them."""
    first: str
    last: str
    """UTC times of the first and the last new pair, ISO 8601."""


def uses_of_test_split(base: str) -> list[SplitUse]:
    """For each recipe with this base model revision, in the order of first use.

    The system that an evaluation is about counts: the tuned model with each training seed, or the base model alone. The
    same summaries scored again, other scorers, champions for comparison, exported files, and validation scores do not.
    """
    store = Store.current()
    outputs = {m.id: PredictionsView(m) for m in store.manifests("generate")}
    seen: dict[str, dict[str, tuple[str, str | None]]] = {}
    for m in store.manifests("score"):
        scores = ScoresView(m)
        judged = outputs.get(scores.predictions.get(System.TUNED, scores.predictions[System.BASE]).id)
        if judged is None or judged.base_revision != base or not scores.intervals or scores.split != "test":
            continue
        decoding = {key: value for key, value in judged.decoding.items() if key != "limit"}
        setting = sha256([judged.adapter_id, judged.rows.digest, judged.turns, decoding])
        recipe = m.provenance.origin.get("recipe", "").split(" ")[0]
        seen.setdefault(recipe, {}).setdefault(setting, (m.provenance.at, judged.adapter_id))
    return [
        SplitUse(
            recipe=recipe,
            settings=len(settings),
            adapters=len({adapter for _, adapter in settings.values() if adapter}),
            first=min(at for at, _ in settings.values()),
            last=max(at for at, _ in settings.values()),
        )
        for recipe, settings in seen.items()
    ]


def evaluations(base: str) -> list[Evaluation]:
    """Evaluations of a base model revision, oldest first, without those of rivals and further seeds."""
    store = Store.current()
    scores = store.manifests("score")
    used = {ref.id for m in scores for ref in m.inputs.values()}
    outputs = {m.id: m for m in store.manifests("generate", used)}
    datasets = {m.id: m for m in store.manifests("download", used)}
    prompt_ids = {PredictionsView(m).rows.id for m in outputs.values()}
    prompts = {m.id: m for m in store.manifests("format", prompt_ids)}
    decisions = {view.scores_id: view.passed for view in map(DecisionView, store.manifests("promote"))}
    promoted = {change.scores for change in Champions(Store.current(), base).changes if change.action == "promoted"}
    evaluations = []
    for m in scores:
        view = ScoresView(m)
        base_output = outputs.get(view.predictions[System.BASE].id)
        if not view.intervals:  # written before there was a history
            continue
        judged = m.variant is None or m.id in decisions  # what was made for a further seed may become a candidate later
        if judged and base_output is not None and PredictionsView(base_output).base_revision == base:
            evaluations.append(_evaluation(m, outputs, prompts, datasets, decisions, promoted))
    return evaluations


def evaluations_before(scores: Input, base: str) -> tuple[Evaluation, ...]:
    """The evaluations before the one with these scores; all of them if the artifact does not exist yet.

    An earlier artifact with the same scores, made by other code, is this evaluation again and is left out.
    """
    store, earlier = Store.current(), []
    for evaluation in evaluations(base):
        if evaluation.scores == scores.id:
            break
        if store.by_id(evaluation.scores).digest != scores.digest:
            earlier.append(evaluation)
    return tuple(earlier)


def _evaluation(
    m: Manifest,
    outputs: dict[str, Manifest],
    prompts: dict[str, Manifest],
    datasets: dict[str, Manifest],
    decisions: dict[str, bool],
    promoted: set[str | None],
) -> Evaluation:
    scores = ScoresView(m)
    tuned = outputs.get(scores.predictions[System.TUNED].id) if System.TUNED in scores.predictions else None
    dataset = datasets.get(scores.dataset.id)
    candidate = System.TUNED if System.TUNED in scores.predictions else System.BASE
    decided: Any = None
    if m.id in decisions:
        decided = "promoted" if m.id in promoted else "passed" if decisions[m.id] else "rejected"
    rows = PredictionsView(outputs[scores.predictions[System.BASE].id]).rows.id
    prompt = prompts.get(rows)
    protocol = m.facts.get("protocol", {})
    return Evaluation(
        at=m.provenance.at,
        recipe=m.provenance.origin.get("recipe", ""),
        data=DatasetView(dataset).revision[:8] if dataset else scores.dataset.digest[:8],
        scores=m.id,
        adapter=PredictionsView(tuned).adapter_id if tuned else None,
        headline={system: by_type[HEADLINE_TYPE] for system, by_type in scores.headline.items()},
        interval=scores.intervals[candidate][HEADLINE_TYPE],
        decision=decided,
        # the name that the prompt had then: a file of the library may have been edited since
        prompt=m.provenance.origin.get("prompt")
        or (prompt_label(FormattedRowsView(prompt).template) if prompt else ""),
        prompts=rows,
        rows=protocol.get("rows"),
        rows_in_split=protocol.get("rows_in_split"),
        overrides=m.provenance.origin.get("overrides", ""),
        judge={system: mean for system, mean in scores.judge.items() if system in scores.predictions},
    )


def overrides_by_recipe(origins: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """(recipe with its revision, overrides), each recipe once, of those that had overrides."""
    return list({recipe: (recipe, overrides) for recipe, overrides in origins if overrides}.values())

"""What the report shows: collected from scores, decision, manifests and tables of its inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from artifacts.manifest import Manifest
from artifacts.schemas import FORMATTED_EVAL, read_table
from tasks.config import Evaluation, ReportSpec
from tasks.data.change_records import CHANGE_KINDS, TRAINING_MEASURES, DataComparison
from tasks.data.change_sentences import details
from tasks.data.compare_datasets import compare_with_champion
from tasks.execution.stage import Artifact
from tasks.manifest_views import AdapterView, FormattedRowsView, PredictionsView
from tasks.metrics.gate_decision import GateDecision
from tasks.metrics.row_scores import read_row_scores
from tasks.metrics.score_table import DIAGNOSTIC_LABELS, PROTOCOL_NAMES, ROUGE_TYPES, System
from tasks.metrics.scores import ProtocolScores, Scores
from tasks.reporting.examples import Example, select_examples
from tasks.reporting.facts import FactsSection, facts_section
from tasks.reporting.headline import Headline, headline
from tasks.reporting.judge_words import judge_sentences, unsupported
from tasks.reporting.plots import history_plot, length_plot, score_plot, slice_plot
from tasks.reporting.sections import (
    SeedScores,
    StageRow,
    learning_curve,
    seed_scores,
    settings,
    stage_rows,
    words_by_system,
)
from tasks.reporting.system_names import comparison_names, describe_decoding, quoted, system_labels
from tasks.reporting.weights import weights_sentence


@dataclass(frozen=True)
class ReportInputs:
    """The artifacts that a report is made of."""

    spec: ReportSpec
    dataset: Artifact
    prompts: Artifact
    scores: Artifact
    outputs: dict[str, Artifact]
    """System -> its predictions; `base` always among them."""
    adapter: Artifact | None
    decision: Artifact | None
    champion_dataset: Artifact | None
    """The dataset that the champion was trained on, if it is another one."""
    seeds: list[Artifact]
    """Scores of further training seeds, in the order of the seeds."""
    made_from: list[Artifact]
    """Earlier adapters, and their samples, from which the adapter was distilled; in the order of the pipeline."""
    probes: dict[str, Artifact] = field(default_factory=dict)
    """System -> its probe; empty if nothing was probed."""
    judged: dict[str, Artifact] = field(default_factory=dict)
    """System, or `references` -> its judgements; empty without a judge."""

    @property
    def manifests(self) -> dict[str, Manifest]:
        """Role -> manifest, in the order of the pipeline."""
        earlier = {f"{each.manifest.stage} {each.manifest.variant or ''}".strip(): each for each in self.made_from}
        artifacts = {
            "dataset": self.dataset,
            **earlier,
            "adapter": self.adapter,
            "prompts": self.prompts,
            **self.outputs,
        }
        artifacts |= {f"probe {system}": artifact for system, artifact in self.probes.items()}
        artifacts |= {f"judge of {role}": artifact for role, artifact in self.judged.items()}
        artifacts |= {"scores": self.scores, "decision": self.decision, "champion's dataset": self.champion_dataset}
        return {role: artifact.manifest for role, artifact in artifacts.items() if artifact is not None}


@dataclass(frozen=True)
class ReportPage:
    """Everything that the templates show."""

    headline: Headline
    model: str
    data: str
    recipe: str | None
    overrides: str | None
    systems: list[tuple[str, str | None, str]]
    """(label, adapter id or None, prompt and decoding) of every compared model."""

    scores: Scores
    scores_id: str
    under_headline_protocol: ProtocolScores
    rouge_types: Sequence[str]
    protocol_names: Sequence[str]
    order: list[System]
    """Systems, as tables and plots list them."""
    models: list[System]
    labels: dict[str, str]
    """System -> its name for readers."""
    compared: System | None
    """The system that the tuned model is mainly compared with."""
    compared_name: str | None
    score_plots: dict[str, Markup]
    seeds: SeedScores | None

    decision: GateDecision | None
    facts: FactsSection | None
    """None if nothing was probed."""
    judge_sentences: list[str]
    """What the judge says, and how far it agrees with people; empty without a judge."""
    data_comparison: DataComparison | None
    """The dataset compared with the champion's; None if there is no champion."""
    data_details: list[str]
    change_kinds: Sequence[str]
    training_measures: Mapping[str, str]
    diagnostic_labels: Mapping[str, tuple[str, bool]]
    diagnosed_systems: list[System]
    length_plot: Markup
    slice_plot: Markup | None
    examples: dict[str, list[Example]]

    curve: tuple[Markup, str] | None
    """The learning curve as a plot and in words."""
    checks: list[dict[str, Any]]
    """Preflight checks of the training."""
    history: Sequence[Evaluation]
    history_plot: Markup | None
    stages: list[StageRow]
    settings: list[tuple[str, str, str]]
    first_prompt: str


def build_page(inputs: ReportInputs) -> ReportPage:
    """Collect what the report shows; all figures come from the inputs and from the history in the spec."""
    spec = inputs.spec
    scores = Scores.load(inputs.scores.payload)
    decision = GateDecision.load(inputs.decision.payload) if inputs.decision else None
    row_scores = read_row_scores(inputs.scores.payload / "rows.parquet")
    outputs = {system: artifact.manifest for system, artifact in inputs.outputs.items()}
    main = scores.under_headline_protocol
    order = [system for system in System if system in main.systems]
    models = [system for system in order if system in outputs]
    compared = scores.comparison_system
    labels = {str(system): str(system) for system in order} | system_labels(outputs, spec.prompts)
    seeds = seed_scores(inputs.scores, inputs.seeds)
    names = comparison_names(outputs, spec.prompts)
    rouge1 = [row["rouge1"] for row in seeds.rows] if seeds else []
    provenance = inputs.scores.manifest.provenance.origin
    data_comparison = _compare_data(inputs)
    adapter = inputs.adapter.manifest if inputs.adapter else None
    weights = weights_sentence(adapter, outputs[System.TUNED if adapter else System.BASE])
    return ReportPage(
        headline=headline(scores, decision, rouge1, prompt_differs(inputs), names, weights),
        model=outputs[System.BASE].provenance.origin.get("model", "base model"),
        data=inputs.dataset.manifest.provenance.origin.get("data", "dataset"),
        recipe=provenance.get("recipe"),
        overrides=provenance.get("overrides"),
        systems=[(labels[s], *_adapter_and_decoding(outputs[s], spec.prompts.get(s))) for s in models],
        scores=scores,
        scores_id=inputs.scores.manifest.id,
        under_headline_protocol=main,
        rouge_types=ROUGE_TYPES,
        protocol_names=PROTOCOL_NAMES,
        order=order,
        models=models,
        labels=labels,
        compared=compared,
        compared_name=comparison_names(outputs, spec.prompts, details=False)[1][compared] if compared else None,
        score_plots={name: score_plot(main.systems, name, order, labels) for name in ROUGE_TYPES[:3]},
        seeds=seeds,
        decision=decision,
        facts=facts_section(scores.probe, inputs.probes, models),
        judge_sentences=judge_sentences(scores, spec.judge_agreement, names),
        data_comparison=data_comparison,
        data_details=details(data_comparison.changes) if data_comparison and data_comparison.changes else [],
        change_kinds=CHANGE_KINDS,
        training_measures=TRAINING_MEASURES,
        diagnostic_labels=DIAGNOSTIC_LABELS,
        diagnosed_systems=[system for system in order if system in scores.diagnostics],
        length_plot=length_plot(words_by_system(row_scores), labels),
        slice_plot=slice_plot(scores.slices, compared) if scores.slices and compared else None,
        examples=select_examples(
            spec.report.examples, inputs.dataset, row_scores, inputs.outputs, unsupported(inputs.judged)
        ),
        curve=learning_curve(inputs.adapter) if inputs.adapter else None,
        checks=AdapterView(inputs.adapter.manifest).checks if inputs.adapter else [],
        history=spec.history,
        history_plot=history_plot(spec.history) if len(spec.history) > 1 else None,
        stages=stage_rows(inputs.manifests, spec.report.price_per_gpu_hour),
        settings=settings(inputs.manifests),
        first_prompt=str(read_table(inputs.prompts.payload / "prompts.parquet", FORMATTED_EVAL)[0]["prompt"]),
    )


def prompt_differs(inputs: ReportInputs) -> bool:
    """Whether the adapter was trained with another prompt or chat template than it is evaluated with."""
    if inputs.adapter is None:
        return False
    adapter, base = AdapterView(inputs.adapter.manifest), PredictionsView(inputs.outputs[System.BASE].manifest)
    evaluated_template = FormattedRowsView(inputs.prompts.manifest).template
    return (adapter.template, adapter.turns) != (evaluated_template, base.turns)


def _compare_data(inputs: ReportInputs) -> DataComparison | None:
    if inputs.spec.champion_data is None:
        return None
    earlier = inputs.champion_dataset.payload if inputs.champion_dataset else None
    return compare_with_champion(inputs.spec.champion_data, inputs.dataset.payload, earlier)


def _adapter_and_decoding(output: Manifest, prompt: str | None) -> tuple[str | None, str]:
    """(`train-1a2b3c4d`, `prompt brief, greedy`) of an output; the prompt only if it is known."""
    predictions = PredictionsView(output)
    decoding = describe_decoding(predictions.decoding)
    return predictions.adapter_id, ", ".join([*([f"prompt {quoted(prompt)}"] if prompt else []), decoding])

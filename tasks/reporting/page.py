"""What the report shows: collected from scores, decision, manifests and tables of its inputs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from markupsafe import Markup

from artifacts.manifest import Manifest
from artifacts.schemas import CURVE, FORMATTED_EVAL, read_table
from tasks.config import Evaluation, ReportSpec
from tasks.execution.stage import Artifact
from tasks.metrics.gate_decision import GateDecision
from tasks.metrics.score_table import DIAGNOSTIC_LABELS, MODELS, PROTOCOL_NAMES, ROUGE_TYPES, ROW_SCORES, System
from tasks.metrics.scores import ProtocolScores, Scores
from tasks.reporting.examples import Example, select_examples
from tasks.reporting.headline import Headline, headline
from tasks.reporting.plots import curve_plot, history_plot, length_plot, score_plot, slice_plot
from tasks.reporting.system_names import comparison_names, describe_decoding, quoted, system_labels

GPU_STAGES = ("adapter", *MODELS)
"""Inputs of the report that may be made on a GPU."""


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
    seeds: list[Artifact]
    """Scores of further training seeds, in the order of the seeds."""

    @property
    def manifests(self) -> dict[str, Manifest]:
        """Role -> manifest, in the order of the pipeline."""
        artifacts = {"dataset": self.dataset, "adapter": self.adapter, "prompts": self.prompts, **self.outputs}
        artifacts |= {"scores": self.scores, "decision": self.decision}
        return {role: artifact.manifest for role, artifact in artifacts.items() if artifact is not None}


@dataclass(frozen=True)
class SeedScores:
    """Headline F1 x 100 of every training seed, the candidate's first, by ROUGE type."""

    rows: list[dict[str, float]]
    mean: dict[str, float]
    deviation: dict[str, float]


@dataclass(frozen=True)
class StageRow:
    """A line of the table of stages."""

    name: str
    manifest: Manifest
    time_share: float
    """Percent of the time of all stages."""
    cost: float | None
    """None if no price is known or the stage did not run on a GPU."""
    measured: str


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
    row_scores = read_table(inputs.scores.payload / "rows.parquet", ROW_SCORES)
    outputs = {system: artifact.manifest for system, artifact in inputs.outputs.items()}
    main = scores.under_headline_protocol
    order = [system for system in System if system in main.systems]
    models = [system for system in order if system in outputs]
    compared = scores.comparison_system
    labels = {str(system): str(system) for system in order} | system_labels(outputs, spec.prompts)
    seeds = seed_scores(inputs)
    names = comparison_names(outputs, spec.prompts)
    rouge1 = [row["rouge1"] for row in seeds.rows] if seeds else []
    provenance = inputs.scores.manifest.made.origin
    return ReportPage(
        headline=headline(scores, decision, rouge1, prompt_differs(inputs), names),
        model=outputs[System.BASE].made.origin.get("model", "base model"),
        data=inputs.dataset.manifest.made.origin.get("data", "dataset"),
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
        diagnostic_labels=DIAGNOSTIC_LABELS,
        diagnosed_systems=[system for system in order if system in scores.diagnostics],
        length_plot=length_plot(_words_by_system(row_scores), labels),
        slice_plot=slice_plot(scores.slices, compared) if scores.slices and compared else None,
        examples=select_examples(spec.report.examples, inputs.dataset, row_scores, inputs.outputs),
        curve=learning_curve(inputs.adapter) if inputs.adapter else None,
        checks=json.loads((inputs.adapter.payload / "checks.json").read_text()) if inputs.adapter else [],
        history=spec.history,
        history_plot=history_plot(spec.history) if len(spec.history) > 1 else None,
        stages=stage_rows(inputs.manifests, spec.report.price_per_gpu_hour),
        settings=settings(inputs.manifests),
        first_prompt=str(read_table(inputs.prompts.payload / "test.parquet", FORMATTED_EVAL)[0]["prompt"]),
    )


def learning_curve(adapter: Artifact) -> tuple[Markup, str]:
    """Training and validation loss as a plot, and their first, last and lowest values in words."""
    rows = read_table(adapter.payload / "curve.parquet", CURVE)
    train = [(row["step"], row["train_loss"]) for row in rows if row["train_loss"] is not None]
    validation = [(row["step"], row["validation_loss"]) for row in rows if row["validation_loss"] is not None]
    words = f"The training loss goes from {train[0][1]:.2f} to {train[-1][1]:.2f} in {train[-1][0]} steps."
    if validation:
        step, lowest = min(validation, key=lambda point: point[1])
        words += f" The validation loss goes from {validation[0][1]:.2f} to {validation[-1][1]:.2f}"
        words += f" and is lowest, {lowest:.2f}, at step {step}."
    return curve_plot(train, validation), words


def stage_rows(manifests: Mapping[str, Manifest], price: float | None) -> list[StageRow]:
    """Time, share of the total and, with a price per GPU hour, cost of every stage behind this report."""
    total = sum(m.made.seconds for m in manifests.values()) or 1.0

    def cost(name: str, m: Manifest) -> float | None:
        on_gpu = name in GPU_STAGES and not str(m.made.measured.get("device", "CPU")).startswith("CPU")
        if price is None or not on_gpu:
            return None
        return m.made.seconds / 3600 * price * int(m.made.measured.get("processes") or 1)

    return [
        StageRow(name, m, 100 * m.made.seconds / total, cost(name, m), _measured(m)) for name, m in manifests.items()
    ]


def settings(manifests: Mapping[str, Manifest]) -> list[tuple[str, str, str]]:
    """(artifact, key, value) of every setting that is part of a cache key."""

    def flat(value: Any, prefix: str) -> list[tuple[str, str]]:
        if isinstance(value, dict):
            return [pair for key in value for pair in flat(value[key], f"{prefix}.{key}" if prefix else key)]
        return [(prefix, value if isinstance(value, str) else json.dumps(value))]

    return [(name, *pair) for name, m in manifests.items() for pair in flat(m.identity["config"], "")]


def prompt_differs(inputs: ReportInputs) -> bool:
    """Whether the adapter was trained with another prompt or chat template than it is evaluated with."""
    if inputs.adapter is None:
        return False
    adapter, base = inputs.adapter.manifest, inputs.outputs[System.BASE].manifest
    trained = (adapter.facts["template"], adapter.identity["config"]["turns"])
    return trained != (inputs.prompts.manifest.identity["config"]["template"], base.identity["config"]["turns"])


def seed_scores(inputs: ReportInputs) -> SeedScores | None:
    """Scores of all training seeds with mean and standard deviation; None if only one was trained."""
    if not inputs.seeds:
        return None
    rows = [artifact.manifest.facts["headline"][System.TUNED] for artifact in (inputs.scores, *inputs.seeds)]
    return SeedScores(
        rows=rows,
        mean={name: fmean(row[name] for row in rows) for name in ROUGE_TYPES},
        deviation={name: stdev(row[name] for row in rows) for name in ROUGE_TYPES},
    )


def _measured(manifest: Manifest) -> str:
    present = {key: value for key, value in manifest.made.measured.items() if value is not None}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in present.items())


def _adapter_and_decoding(output: Manifest, prompt: str | None) -> tuple[str | None, str]:
    """(`train-1a2b3c4d`, `prompt brief, greedy`) of an output; the prompt only if it is known."""
    decoding = describe_decoding(output.identity["config"]["generate"])
    adapter = output.inputs["adapter"].id if "adapter" in output.inputs else None
    return adapter, ", ".join([*([f"prompt {quoted(prompt)}"] if prompt else []), decoding])


def _words_by_system(row_scores: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """System -> words of each of its summaries; `human`: mean words of the references of each dialogue."""
    words: dict[str, list[float]] = {}
    for row in row_scores:
        words.setdefault(row["system"], []).append(row["words"])
        if row["system"] == System.BASE:
            words.setdefault(System.HUMAN, []).append(row["reference_words"])
    return words

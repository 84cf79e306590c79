"""Parts of a report that are computed from tables and manifests: learning curve, seeds, stages, settings, lengths."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from markupsafe import Markup

from artifacts.manifest import Manifest
from artifacts.schemas import CURVE, read_table
from tasks.execution.stage import Artifact
from tasks.manifest_views import AdapterView, ScoresView, gpu_seconds
from tasks.metrics.score_table import ROUGE_TYPES, System
from tasks.reporting.plots import curve_plot


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
    if preference := AdapterView(adapter.manifest).preference_facts:
        if "reward_accuracy" in preference:
            words += (
                f" The training loss is that of DPO on {preference['pairs']:g} pairs of samples. At the end the adapter "
                f"prefers the better one in {100 * preference['reward_accuracy']:.0f} % of the pairs."
            )
        else:
            words += f" The training loss is that of the best samples of {preference['pairs']:g} dialogues."
    return curve_plot(train, validation), words


def stage_rows(manifests: Mapping[str, Manifest], price: float | None) -> list[StageRow]:
    """Time, share of the total and, with a price per GPU hour, cost of every stage behind this report."""
    total = sum(m.provenance.seconds for m in manifests.values()) or 1.0

    def cost(m: Manifest) -> float | None:
        return gpu_seconds(m) / 3600 * price if price is not None and gpu_seconds(m) else None

    return [
        StageRow(name, m, 100 * m.provenance.seconds / total, cost(m), _measured(m)) for name, m in manifests.items()
    ]


def settings(manifests: Mapping[str, Manifest]) -> list[tuple[str, str, str]]:
    """(artifact, key, value) of every setting that is part of a cache key."""

    def flat(value: Any, prefix: str) -> list[tuple[str, str]]:
        if isinstance(value, dict):
            return [pair for key in value for pair in flat(value[key], f"{prefix}.{key}" if prefix else key)]
        return [(prefix, value if isinstance(value, str) else json.dumps(value))]

    return [(name, *pair) for name, m in manifests.items() for pair in flat(m.identity["config"], "")]


def seed_scores(scores: Artifact, seeds: Sequence[Artifact]) -> SeedScores | None:
    """Scores of all training seeds with mean and standard deviation; None if only one was trained.

    scores: of the candidate. seeds: of the further seeds.
    """
    if not seeds:
        return None
    rows = [ScoresView(artifact.manifest).headline[System.TUNED] for artifact in (scores, *seeds)]
    return SeedScores(
        rows=rows,
        mean={name: fmean(row[name] for row in rows) for name in ROUGE_TYPES},
        deviation={name: stdev(row[name] for row in rows) for name in ROUGE_TYPES},
    )


def _measured(manifest: Manifest) -> str:
    present = {key: value for key, value in manifest.provenance.measured.items() if value is not None}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in present.items())


def words_by_system(row_scores: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """System -> words of each of its summaries; `human`: mean words of the references of each dialogue."""
    # without pandas: its import takes longer than this loop, and the code would not be shorter
    words: dict[str, list[float]] = {}
    for row in row_scores:
        words.setdefault(row["system"], []).append(row["words"])
        if row["system"] == System.BASE:
            words.setdefault(System.HUMAN, []).append(row["reference_words"])
    return words

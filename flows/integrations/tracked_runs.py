"""The runs that a store holds, derived from manifests and payloads alone, so that each can be sent at any time."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from artifacts.artifact_store import Store
from artifacts.cache_key import sha256
from artifacts.champions import Champions
from artifacts.manifest import Manifest
from artifacts.schemas import CURVE, read_table
from artifacts.text import one_line
from flows.integrations.tracker import Points, TrackedRun
from flows.labels import leaves, prompt_label
from tasks.manifest_views import AdapterView, DatasetView, DecisionView, PredictionsView, ScoresView
from tasks.metrics.score_table import MODELS, System
from tasks.metrics.scores import Scores
from tasks.reporting.links import report_url

CONTENT_VERSION = 1
"""Raised when runs get other content, so that all of them are sent again."""


@dataclass
class RunSource:
    """The artifacts that a run shows: an adapter with its first evaluation, or a further evaluation."""

    manifest: Manifest
    """The adapter, or the scores of the further evaluation."""
    dataset: Manifest | None
    champion: bool = False
    parent: str | None = None
    """The adapter of a further evaluation."""
    scores: Manifest | None = None
    predictions: Manifest | None = None
    """Of the adapter or, without one, of the base model."""
    decision: Manifest | None = None
    state: str = ""
    """State of the decision: promoted, passed or rejected."""
    report: Manifest | None = None

    @property
    def digest(self) -> str:
        """Changes with everything that the run shows, payloads included: manifests have digests of them."""
        shown = (self.manifest, self.dataset, self.scores, self.predictions, self.decision, self.report)
        checksums = [artifact.checksum if artifact else "" for artifact in shown]
        return sha256([CONTENT_VERSION, *checksums, self.champion, self.parent, self.state])


def run_sources(store: Store) -> dict[str, RunSource]:
    """Every run by its id, adapters first. It reads manifests only."""
    by_id = {m.id: m for m in store.manifests()}
    logs = [Champions(store, base) for base in store.side_files.names("champions")]
    champions = {log.current.adapter for log in logs if log.current}
    promoted = {change.scores for log in logs for change in log.changes if change.action == "promoted"}
    made_from = {(m.stage, m.inputs["scores"].id): m for m in by_id.values() if "scores" in m.inputs}
    sources: dict[str, RunSource] = {}
    for adapter in [AdapterView(m) for m in by_id.values() if m.stage == "train"]:
        rows = by_id.get(adapter.rows.id)
        dataset = by_id.get(rows.inputs["dataset"].id) if rows else None
        sources[adapter.id] = RunSource(adapter.manifest, dataset, adapter.id in champions)
    evaluations = [ScoresView(m) for m in by_id.values() if m.stage == "score"]
    for scores in sorted(evaluations, key=_is_no_test):
        systems = [system for system in (System.TUNED, System.BASE) if system in scores.predictions]
        outputs = [by_id.get(scores.predictions[system].id) for system in systems]
        parent = next((found for m in outputs if m and (found := PredictionsView(m).adapter_id)), None)
        source = sources.get(parent or "")
        if source is None or source.scores:
            source = RunSource(scores.manifest, by_id.get(scores.dataset.id), parent=parent)
            sources[scores.id] = source
        source.scores, source.predictions = scores.manifest, outputs[0]
        source.report, source.decision = made_from.get(("report", scores.id)), made_from.get(("promote", scores.id))
        if source.decision:
            passed = DecisionView(source.decision).passed
            source.state = "promoted" if scores.id in promoted else "passed" if passed else "rejected"
    return sources


def _is_no_test(scores: ScoresView) -> bool:
    """False sorts first. Artifacts that name no split were made before there was a choice."""
    return bool(scores.manifest.facts.get("protocol", {}).get("split", "test") != "test")


def tracked_run(store: Store, source: RunSource) -> TrackedRun:
    """The run with its curve and scores, which are read from the store."""
    m, made = source.manifest, source.manifest.provenance
    ended, trained = datetime.fromisoformat(made.at).timestamp(), m.stage == "train"
    model = m if trained or not source.predictions else source.predictions
    tags = {
        "artifact": m.id,
        "adapter": source.parent,
        "variant": m.variant,
        "champion": "yes" if source.champion else "no",
        "decision": source.state,
        "reasons": one_line("; ".join(DecisionView(source.decision).reasons), 1000) if source.decision else None,
        "base_model": model.provenance.origin.get("model"),
        "recipe": made.origin.get("recipe"),
        "flow_run": made.run,
    }
    links = {"adapter" if trained else "scores": store.absolute(m.path)}
    if source.report:
        file = f"{store.absolute(source.report.path)}/payload/report.html"
        links["report"] = report_url(source.report.id) or file
    measured = {"seconds": made.seconds} | (made.measured if trained else {})
    numbers = {f"measured/{name}": x for name, x in measured.items() if isinstance(x, int | float)}
    scores = _metrics(Scores.load(_file(store, source.scores, "scores.json").parent)) if source.scores else {}
    return TrackedRun(
        id=m.id,
        parent=source.parent,
        started=ended - made.seconds,
        ended=ended,
        parameters={name: _plain(value) for name, value in leaves(_settings(source)).items()},
        curve=_curve(_file(store, m, "curve.parquet")) if trained else {},
        metrics=scores | numbers,
        tags={name: value for name, value in tags.items() if value},
        links=links,
    )


def _settings(source: RunSource) -> dict[str, Any]:
    """The settings behind a run by section of the recipe."""
    m, origin = source.manifest, source.manifest.provenance.origin
    name, _, revision = origin.get("recipe", "").partition(" ")
    settings: dict[str, Any] = {
        "recipe": {"name": name, "revision": revision, "overrides": origin.get("overrides", "")}
    }
    if source.dataset:
        data = source.dataset.provenance.origin.get("data", "")
        settings["data"] = {"source": data, "revision": DatasetView(source.dataset).revision}
    if m.stage == "train":
        config = {name: value for name, value in m.identity["config"].items() if name not in ("train", "preference")}
        settings["train"], settings["prompt"] = AdapterView(m).train_settings, prompt_label(AdapterView(m).template)
        settings["model"] = {"source": origin.get("model", ""), **config.pop("model"), **config}
    if source.scores and source.predictions:
        view, prompt = PredictionsView(source.predictions), source.scores.provenance.origin.get("prompt", "")
        settings |= {"generate": view.decoding, "evaluation": {"prompt": prompt, "turns": view.turns}}
        settings["score"] = source.scores.identity["config"]
    return settings


def _plain(value: Any) -> str | int | float:
    """A setting as every tracker shows it."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else value


def _metrics(scores: Scores) -> dict[str, float]:
    """`test/tuned/rouge1`, `test/tuned/rouge1_low`, `test/tuned-base/rouge1`, `test/tuned/empty` and so on."""
    systems, split = scores.under_headline_protocol.systems, scores.under_headline_protocol.protocol.split
    figures = {
        f"{split}/{system}/{rouge}": (score.f1, score.interval)
        for system in MODELS
        for rouge, score in systems.get(system, {}).items()
    } | {
        f"{split}/{System.TUNED}-{other}/{rouge}": (difference.mean, difference.interval)
        for other, by_type in scores.differences.items()
        for rouge, difference in by_type.items()
    }
    metrics: dict[str, float] = {}
    for name, (value, (low, high)) in figures.items():
        metrics |= {name: value, f"{name}_low": low, f"{name}_high": high}
    for system, measures in scores.diagnostics.items():
        metrics |= {f"{split}/{system}/{name}": value for name, value in measures.items()}
    return metrics


def _curve(file: Path) -> Points:
    rows = read_table(file, CURVE)
    return {row.pop("step"): {f"curve/{name}": x for name, x in row.items() if x is not None} for row in rows}


def _file(store: Store, artifact: Manifest, name: str) -> Path:
    """A local copy of one file of a payload: a tracker needs no weights."""
    digest = artifact.files[name]
    return store.backend.fetch(artifact.path, digest.sha256, {name: digest}) / name

"""report: everything before it -> one HTML file to read and send on, and its first screen as Markdown.

Reads   dataset, prompts (format, eval), scores, base; unless only the base is evaluated: tuned, adapter and, where there
        are any, champion, before, decision, and the scores of further seeds as seed_<n>
Writes  report.html (no request to the network; one script of its own, allowed by its hash), report.md
Rerun   dialogsum run RECIPE --refresh report

What it says is in verdict.py, what it draws in plots.py, which dialogues it shows in examples.py. Dialogues and summaries
are untrusted text: Jinja2 escapes them in HTML, `plain` in Markdown.
"""

import base64
import hashlib
import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from artifacts.manifest import Manifest
from artifacts.schemas import CURVE, FORMATTED_EVAL, read_table
from tasks.config import ReportSpec
from tasks.execution.stage import Artifact, Context, Done, Stage
from tasks.metrics.diagnostics import SHOWN
from tasks.metrics.rouge import TYPES
from tasks.metrics.rounding import percent, probability
from tasks.reporting.escaping import plain, visible
from tasks.reporting.examples import RIVALS, examples
from tasks.reporting.headline import decoding_in_words, quoted, rivals_in_words, system_labels, verdict
from tasks.reporting.plots import curve_plot, history_plot, length_plot, score_plot, slice_plot
from tasks.score import PROTOCOLS, ROWS

ORDER = ("constant sentence", "first three utterances", "base", "before", "champion", "tuned", "human")
TEMPLATES = Path(__file__).resolve().parent / "reporting"
ON_GPU = ("adapter", "base", "tuned", "champion", "before")


def report(
    spec: ReportSpec,
    context: Context,
    dataset: Artifact,
    prompts: Artifact,
    scores: Artifact,
    base: Artifact,
    tuned: Artifact | None = None,
    champion: Artifact | None = None,
    before: Artifact | None = None,
    adapter: Artifact | None = None,
    decision: Artifact | None = None,
    **seeds: Artifact,
) -> Done:
    """Render the report. All figures come from the inputs' files and manifests, and from the history in `spec`."""
    found = json.loads((scores.payload / "scores.json").read_text())
    decided = json.loads((decision.payload / "decision.json").read_text()) if decision else None
    outputs = _there(base=base, before=before, champion=champion, tuned=tuned)
    artifacts = {
        name: artifact.manifest
        for name, artifact in _there(
            dataset=dataset, adapter=adapter, prompts=prompts, **outputs, scores=scores, decision=decision
        ).items()
    }
    headline = found["protocols"][found["headline"]]
    order = [name for name in ORDER if name in headline["systems"]]
    rival = next((name for name in RIVALS if name in found["differences"]), None)
    same_prompt = _same_prompt(adapter, prompts, base)
    spread = _spread(scores, seeds)
    made = {name: artifact.manifest for name, artifact in outputs.items()}
    compared = rivals_in_words(made, spec.prompts)
    said = verdict(found, decided, [row["rouge1"] for row in spread["rows"]], same_prompt is False, compared)
    labels = {name: name for name in order} | system_labels(made, spec.prompts)
    script = Markup((TEMPLATES / "report.js").read_text())  # noqa: S704  # our own file
    page = {
        "verdict": said,
        "scores": found,
        "headline": headline,
        "types": TYPES,
        "order": order,
        "protocols": list(PROTOCOLS),
        "measures": SHOWN,
        "acted": [name for name in order if name in found["behaviour"]],
        "models": [name for name in order if name in outputs],
        "rival": rival,
        "labels": labels,
        "asked": [(labels[name], *_asked(made[name], spec.prompts.get(name))) for name in order if name in made],
        "against": rivals_in_words(made, spec.prompts, quotes=False)[1].get(rival or ""),
        "recipe": scores.manifest.made.origin.get("recipe"),
        "overrides": scores.manifest.made.origin.get("overrides"),
        "score_plots": {kind: score_plot(headline["systems"], kind, order, labels) for kind in TYPES[:3]},
        "decision": decided,
        "spread": spread,
        "curve": learning_curve(adapter) if adapter else None,
        "checks": json.loads((adapter.payload / "checks.json").read_text()) if adapter else [],
        "lengths": length_plot(_words(scores), labels),
        "slice_plot": _slice_plot(found, rival),
        "history": spec.history,
        "history_plot": history_plot(list(spec.history)) if len(spec.history) > 1 else None,
        "examples": examples(spec.report.examples, dataset, scores, outputs),
        "settings": settings(artifacts),
        "prompt": _first_prompt(prompts),
        "stages": stages(artifacts, spec.report.price_per_gpu_hour),
        "scores_id": scores.manifest.id,
        "model": base.manifest.made.origin.get("model", "base model"),
        "data": dataset.manifest.made.origin.get("data", "dataset"),
        "script": script,
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        autoescape=select_autoescape(["html.j2"]),
    )  # fmt: skip
    environment.filters |= {"plain": plain, "visible": visible, "percent": percent, "probability": probability}
    for name in ("report.html", "report.md"):
        text = environment.get_template(f"{name}.j2").render(page)
        (context.out / name).write_text(text, encoding="utf-8", errors="replace")
    return Done(rows=sum(map(len, page["examples"].values())), facts={"verdict": said})


def _there(**artifacts: Artifact | None) -> dict[str, Artifact]:
    return {name: artifact for name, artifact in artifacts.items() if artifact is not None}


def learning_curve(adapter: Artifact) -> dict[str, Any]:
    """The curve as SVG in the page's colours, with its first and last figures in words."""
    rows = read_table(adapter.payload / "curve.parquet", CURVE)
    train = [(row["step"], row["train_loss"]) for row in rows if row["train_loss"] is not None]
    validation = [(row["step"], row["validation_loss"]) for row in rows if row["validation_loss"] is not None]
    words = f"Training loss over {train[-1][0]} steps, from {train[0][1]:.2f} to {train[-1][1]:.2f}."
    if validation:
        best = min(validation, key=lambda point: point[1])
        words += f" Validation loss from {validation[0][1]:.2f} to {validation[-1][1]:.2f}, lowest {best[1]:.2f} at step {best[0]}."
    return {"svg": curve_plot(train, validation), "words": words}


def stages(artifacts: dict[str, Manifest], price: float | None) -> list[dict[str, Any]]:
    """Time, share of the whole and, where a price is known, cost of every stage behind this report."""
    total = sum(m.made.seconds for m in artifacts.values()) or 1.0

    def cost(name: str, m: Manifest) -> float | None:
        on_gpu = name in ON_GPU and not str(m.made.measured.get("device", "CPU")).startswith("CPU")
        if price is None or not on_gpu:
            return None
        return m.made.seconds / 3600 * price * int(m.made.measured.get("processes") or 1)

    return [
        {"name": name, "manifest": m, "share": 100 * m.made.seconds / total, "measured": _measured(m), "cost": cost(name, m)}
        for name, m in artifacts.items()
    ]  # fmt: skip


def settings(artifacts: dict[str, Manifest]) -> list[tuple[str, str, str]]:
    """(artifact, key, value) of every setting that is identity."""

    def flat(value: Any, prefix: str) -> list[tuple[str, str]]:
        if isinstance(value, dict):
            return [pair for key in value for pair in flat(value[key], f"{prefix}.{key}" if prefix else key)]
        return [(prefix, value if isinstance(value, str) else json.dumps(value))]

    return [(name, *pair) for name, m in artifacts.items() for pair in flat(m.identity["config"], "")]


def _measured(manifest: Manifest) -> str:
    shown = {key: value for key, value in manifest.made.measured.items() if value is not None}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in shown.items())


def _same_prompt(adapter: Artifact | None, prompts: Artifact, base: Artifact) -> bool | None:
    """Whether the adapter was trained on the prompt and turn template it is evaluated with; None without an adapter."""
    if adapter is None:
        return None
    trained = (adapter.manifest.facts["template"], adapter.manifest.identity["config"]["turns"])
    return trained == (prompts.manifest.identity["config"]["template"], base.manifest.identity["config"]["turns"])


def _asked(output: Manifest, prompt: str | None) -> tuple[str | None, str]:
    """(`train-1a2b3c4d`, `prompt brief, greedy`): the adapter of an output, its prompt where that is known, its decoding."""
    decoding = decoding_in_words(output.identity["config"]["generate"])
    adapter = output.inputs["adapter"].id if "adapter" in output.inputs else None
    return adapter, ", ".join([*([f"prompt {quoted(prompt)}"] if prompt else []), decoding])


def _first_prompt(prompts: Artifact) -> str:
    return str(read_table(prompts.payload / "test.parquet", FORMATTED_EVAL)[0]["prompt"])


def _spread(scores: Artifact, seeds: dict[str, Artifact]) -> dict[str, Any]:
    """Headline F1 of every training seed, with mean and standard deviation; no rows where only one was trained."""
    if not seeds:
        return {"rows": []}
    every = [scores, *(seeds[name] for name in sorted(seeds, key=lambda name: int(name.split("_")[1])))]
    rows = [artifact.manifest.facts["headline"]["tuned"] for artifact in every]
    return {
        "rows": rows,
        "mean": {kind: fmean(row[kind] for row in rows) for kind in TYPES},
        "deviation": {kind: stdev(row[kind] for row in rows) for kind in TYPES},
    }


def _words(scores: Artifact) -> dict[str, list[float]]:
    """Words of every summary by system, and of the references in the mean."""
    found: dict[str, list[float]] = {}
    for row in read_table(scores.payload / "rows.parquet", ROWS):
        found.setdefault(row["system"], []).append(row["words"])
        if row["system"] == "base":
            found.setdefault("human", []).append(row["reference_words"])
    return found


def _slice_plot(scores: dict[str, Any], rival: str | None) -> Markup | None:
    if not scores["slices"] or rival is None:
        return None
    return slice_plot(scores["slices"], rival, "rouge1")


REPORT = Stage(
    name="report", version=1, function=report, spec=ReportSpec, label=lambda spec: "report",
    resources=tuple(f"reporting/report.{kind}" for kind in ("html.j2", "md.j2", "js", "css")), packages=("jinja2", "matplotlib"),
)  # fmt: skip

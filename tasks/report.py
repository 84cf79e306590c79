"""report: everything before it -> one HTML file to read and send on, and the same in short as Markdown.

Reads   dataset, prompts (format, eval), scores, base; tuned and adapter unless only the base is evaluated
Writes  report.html (no request to the network, no script), report.md
Rerun   dialogsum run RECIPE --refresh report

Dialogues and summaries are untrusted text: Jinja2 escapes them in HTML, `plain` in Markdown.
"""

import io
import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from artifacts.manifest import Manifest
from artifacts.schemas import CURVE, DATASET, FORMATTED_EVAL, PREDICTIONS, read_table
from tasks.config import ReportConfig
from tasks.rouge import TYPES
from tasks.score import ROWS
from tasks.stage import Artifact, Context, Done, Stage

ORDER = ("constant sentence", "first three utterances", "base", "tuned", "human")
TEMPLATES = Path(__file__).resolve().parent
INKS = {"#111111": "var(--ink)", "#222222": "var(--line)", "#333333": "var(--tuned)", "#444444": "var(--base)"}
"""Colours a plot is drawn in -> the page's own, so that one drawing serves light and dark."""


def report(
    spec: ReportConfig,
    context: Context,
    dataset: Artifact,
    prompts: Artifact,
    scores: Artifact,
    base: Artifact,
    tuned: Artifact | None = None,
    adapter: Artifact | None = None,
) -> Done:
    """Render the report. All figures come from the inputs' files and manifests."""
    found = json.loads((scores.payload / "scores.json").read_text())
    artifacts = {
        name: artifact.manifest
        for name, artifact in (
            ("dataset", dataset), ("adapter", adapter), ("prompts", prompts), ("base", base), ("tuned", tuned), ("scores", scores),
        )
        if artifact
    }  # fmt: skip
    page = {
        "scores": found,
        "types": TYPES,
        "bounds": [name for name in ORDER if name in found["protocols"][found["protocol"]["name"]]],
        "verdict": verdict(found),
        "examples": examples(spec, dataset, scores, base, tuned),
        "curve": learning_curve(adapter) if adapter else None,
        "checks": json.loads((adapter.payload / "checks.json").read_text()) if adapter else [],
        "settings": settings(artifacts),
        "prompt": {"same": _same_prompt(adapter, prompts, base), "example": _first_prompt(prompts)},
        "artifacts": artifacts,
        "stages": [{"name": name, "manifest": m, "measured": _measured(m)} for name, m in artifacts.items()],
        "model": base.manifest.made.origin.get("model", "base model"),
        "data": dataset.manifest.made.origin.get("data", "dataset"),
        "generation": {name: a.manifest.facts for name, a in (("base", base), ("tuned", tuned)) if a},
    }
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        autoescape=select_autoescape(["html.j2"]),
    )  # fmt: skip
    environment.filters |= {"plain": plain, "visible": visible}
    for name in ("report.html", "report.md"):
        (context.out / name).write_text(
            environment.get_template(f"{name}.j2").render(page), encoding="utf-8", errors="replace"
        )
    return Done(rows=len(page["examples"]), facts={"verdict": page["verdict"]})


def verdict(scores: dict[str, Any]) -> dict[str, str]:
    """Is it better, by how much, can it be trusted: three sentences."""
    protocol = scores["protocol"]
    part = (
        f"{protocol['rows']} of {protocol['rows_in_split']}"
        if protocol["rows"] < protocol["rows_in_split"]
        else protocol["rows"]
    )
    rows = f"{part} test dialogues with {protocol['references_per_row']} references each"
    if "difference" not in scores:
        base = scores["systems"]["base"]["rouge1"]
        return {
            "state": "alone",
            "head": f"The base model scores {base['f1']:.1f} ROUGE-1.",
            "much": f"95 % interval {base['interval'][0]:.1f} to {base['interval'][1]:.1f}.",
            "trust": f"Measured on {rows}.",
        }
    gain = scores["difference"]["rouge1"]
    low, high = gain["interval"]
    state = "better" if low > 0 else "worse" if high < 0 else "even"
    head = {
        "better": "The tuned model is better than the base model.",
        "worse": "The tuned model is worse than the base model.",
        "even": "No difference between tuned and base model is established.",
    }[state]
    tuned, base = (scores["systems"][name]["rouge1"]["f1"] for name in ("tuned", "base"))
    return {
        "state": state,
        "head": head,
        "much": f"ROUGE-1 {tuned:.1f} against {base:.1f}: {gain['mean']:+.1f} points (95 % interval {low:+.1f} to {high:+.1f}).",
        "trust": f"Measured on the same {rows}; better in {100 * gain['better']:.1f} % of {scores['protocol']['interval'].split(', ')[-1]}.",
    }


def examples(
    spec: ReportConfig, dataset: Artifact, scores: Artifact, base: Artifact, tuned: Artifact | None
) -> list[dict[str, Any]]:
    """Dialogues evenly spread over the rows, with references and predictions and their ROUGE-1."""
    test = {row["id"]: row for row in read_table(dataset.payload / "test.parquet", DATASET)}
    rouge = {
        (row["system"], row["id"]): row["rouge1"] * 100 for row in read_table(scores.payload / "rows.parquet", ROWS)
    }
    outputs = {
        name: {row["id"]: row for row in read_table(artifact.payload / "predictions.parquet", PREDICTIONS)}
        for name, artifact in (("base", base), ("tuned", tuned))
        if artifact
    }
    ids = list(outputs["base"])
    picked = [ids[i * len(ids) // spec.examples] for i in range(spec.examples)] if spec.examples < len(ids) else ids
    return [
        {
            "id": name,
            "dialogue": test[name]["dialogue"],
            "topic": next(iter(test[name]["topics"]), ""),
            "references": test[name]["references"],
            "outputs": {system: rows[name] | {"rouge1": rouge[system, name]} for system, rows in outputs.items()},
        }
        for name in picked
    ]


def learning_curve(adapter: Artifact) -> dict[str, Any]:
    """The curve as SVG in the page's colours, with its first and last figures in words."""
    rows = read_table(adapter.payload / "curve.parquet", CURVE)
    train = [(row["step"], row["train_loss"]) for row in rows if row["train_loss"] is not None]
    validation = [(row["step"], row["validation_loss"]) for row in rows if row["validation_loss"] is not None]
    words = f"Training loss over {train[-1][0]} steps, from {train[0][1]:.2f} to {train[-1][1]:.2f}."
    if validation:
        best = min(validation, key=lambda point: point[1])
        words += f" Validation loss from {validation[0][1]:.2f} to {validation[-1][1]:.2f}, lowest {best[1]:.2f} at step {best[0]}."
    return {"svg": _draw(train, validation), "words": words}


def _draw(train: list[tuple[int, float]], validation: list[tuple[int, float]]) -> Markup:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "dialogsum", "font.family": "sans-serif", "font.size": 10}
    ):
        figure = Figure(figsize=(7.2, 3.0))
        axes = figure.add_subplot()
        axes.plot(*zip(*train, strict=True), color="#333333", linewidth=1.2, alpha=0.45, label="training loss")
        if validation:
            axes.plot(
                *zip(*validation, strict=True),
                color="#444444",
                linewidth=2,
                marker="o",
                markersize=4,
                label="validation loss",
            )
        axes.set_xlabel("optimizer step", color="#111111")
        axes.tick_params(colors="#111111")
        axes.grid(axis="y", color="#222222", linewidth=0.5)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color("#222222")
        axes.legend(frameon=False, labelcolor="#111111")
        figure.tight_layout()
        file = io.StringIO()
        figure.savefig(
            file, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Type", "Format"))
        )
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    for ink, variable in INKS.items():
        svg = svg.replace(ink, variable)
    # only numbers and our own words are in it
    return Markup(re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2))  # noqa: S704


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


def _first_prompt(prompts: Artifact) -> str:
    return str(read_table(prompts.payload / "test.parquet", FORMATTED_EVAL)[0]["prompt"])


def visible(text: str) -> str:
    """Control characters (NUL, escape codes, direction overrides) as their Unicode pictures or code points."""
    return "".join(
        c
        if c in "\n\t" or c.isprintable() or c == "\u200d"
        else chr(0x2400 + ord(c))
        if ord(c) < 32
        else f"⟨U+{ord(c):04X}⟩"
        for c in text
    )


def plain(text: str) -> str:
    """Text that Markdown, and HTML inside Markdown, leave as it is, on one line."""
    line = " ".join(visible(text).split())
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|<>&~:/@$^=\"'])", lambda m: f"&#{ord(m[1])};", line)


REPORT = Stage(
    name="report", version=1, function=report, spec=ReportConfig, label=lambda spec: "report",
    resources=("report.html.j2", "report.md.j2"), packages=("jinja2", "matplotlib"),
)  # fmt: skip

"""history: every evaluation that the store has, and who became champion."""

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from artifacts.champions import Champions
from artifacts.errors import RequestError, one_line
from artifacts.manifest import Manifest
from artifacts.store import Store
from tasks.config import Evaluation
from tasks.untrusted import visible

MEASURE = "rouge1"


def evaluations(base: str) -> list[Evaluation]:
    """Evaluations of a base model (its revision), oldest first; those of rivals and further seeds are not among them."""
    store = Store.current()
    scores = store.manifests("score")
    used = {ref.id for m in scores for ref in m.inputs.values()}
    outputs = {m.id: m for m in store.manifests("generate", used)}
    datasets = {m.id: m for m in store.manifests("download", used)}
    decisions = {m.inputs["scores"].id: bool(m.facts["passed"]) for m in store.manifests("promote")}
    promoted = {change.scores for change in Champions(base).changes if change.action == "promoted"}
    found = []
    for m in scores:
        made = outputs.get(m.inputs["base"].id)
        if "intervals" not in m.facts:  # written before there was a history
            continue
        judged = m.of is None or m.id in decisions  # what was made for a further seed may become a candidate later
        if judged and made is not None and made.identity["config"]["model"]["revision"] == base:
            found.append(_evaluation(m, outputs, datasets, decisions, promoted))
    return found


def evaluations_before(scores: str, base: str) -> tuple[Evaluation, ...]:
    """Those before the evaluation with this score artifact; all if it is not made yet."""
    earlier = []
    for evaluation in evaluations(base):
        if evaluation.scores == scores:
            break
        earlier.append(evaluation)
    return tuple(earlier)


def _evaluation(
    m: Manifest, outputs: dict[str, Manifest], datasets: dict[str, Manifest], decisions: dict[str, bool], promoted: set[str | None]
) -> Evaluation:  # fmt: skip
    tuned = outputs.get(m.inputs["tuned"].id) if "tuned" in m.inputs else None
    dataset = datasets.get(m.inputs["dataset"].id)
    decided: Any = None
    if m.id in decisions:
        decided = "promoted" if m.id in promoted else "passed" if decisions[m.id] else "rejected"
    return Evaluation(
        at=m.made.at,
        recipe=m.made.origin.get("recipe", ""),
        data=dataset.identity["config"]["data"]["revision"][:8] if dataset else m.inputs["dataset"].digest[:8],
        scores=m.id,
        adapter=tuned.inputs["adapter"].id if tuned else None,
        headline={system: found[MEASURE] for system, found in m.facts["headline"].items()},
        interval=tuple(m.facts["intervals"]["tuned" if "tuned" in m.inputs else "base"][MEASURE]),
        decision=decided,
    )


def history(base: str, as_json: bool, plot: Path | None) -> None:
    """Print the table to standard output; with `plot`, draw it into an SVG file."""
    found, champions = evaluations(base), Champions(base)
    if plot is not None:
        from tasks.plots import history_plot

        try:
            plot.write_text(history_plot(found, standalone=True), encoding="utf-8")
        except OSError as error:
            raise RequestError(
                f"--plot {one_line(plot, 80)}: cannot be written ({one_line(error.strerror, 80)})"
            ) from error
    if as_json:
        changes = [change.model_dump(mode="json") for change in champions.changes]
        rows = [evaluation.model_dump(mode="json") for evaluation in found]
        print(json.dumps({"evaluations": rows, "champions": changes}, ensure_ascii=False))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    if not found:
        console.print("no evaluations of this base model yet: `dialogsum run` makes one")
        return
    low = min(evaluation.interval[0] for evaluation in found)
    high = max(evaluation.interval[1] for evaluation in found)
    table = Table(box=None, pad_edge=False)
    for heading in ("at (UTC)", "recipe", "data", "adapter", "base", "tuned", "champion", f"{low:.0f} ROUGE-1 {high:.0f}", "decision"):  # fmt: skip
        table.add_column(heading, justify="right" if heading in ("base", "tuned", "champion") else "left", no_wrap=True)
    for e in found:
        table.add_row(
            e.at[:16].replace("T", " "), escape(visible(e.recipe)), e.data, e.adapter or "none",
            *[f"{e.headline[name]:.2f}" if name in e.headline else "-" for name in ("base", "tuned", "champion")],
            _whisker(e, low, high), e.decision or "-",
        )  # fmt: skip
    console.print(table)
    if champions.current:
        console.print(f"champion: {champions.current.adapter}")
    for adapter, at in champions.withdrawn.items():
        console.print(f"rolled back: {adapter}, {at[:16].replace('T', ' ')} UTC")


def _whisker(evaluation: Evaluation, low: float, high: float, width: int = 24) -> str:
    """The interval as a line of text, the score as a dot on it."""

    def place(value: float) -> int:
        return round((value - low) / max(high - low, 1e-9) * (width - 1))

    first, last = map(place, evaluation.interval)
    dot = place(evaluation.headline.get("tuned", evaluation.headline["base"]))
    return "".join("●" if i == dot else "─" if first <= i <= last else " " for i in range(width))

"""history: every evaluation that the store has, and who became champion."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from artifacts.artifact_store import Store
from artifacts.champions import Champions
from artifacts.errors import RequestError, one_line
from artifacts.manifest import Manifest
from flows.labels import prompt_label
from tasks.config import Evaluation
from tasks.reporting.escaping import visible

MEASURE = "rouge1"
WHISKER = 24
"""Characters of an interval that is drawn in text."""


def evaluations(base: str) -> list[Evaluation]:
    """Evaluations of a base model (its revision), oldest first; those of rivals and further seeds are not among them."""
    store = Store.current()
    scores = store.manifests("score")
    used = {ref.id for m in scores for ref in m.inputs.values()}
    outputs = {m.id: m for m in store.manifests("generate", used)}
    datasets = {m.id: m for m in store.manifests("download", used)}
    asked = {m.inputs["rows"].id for m in outputs.values() if "rows" in m.inputs}
    prompts = {m.id: m for m in store.manifests("format", asked)}
    decisions = {m.inputs["scores"].id: bool(m.facts["passed"]) for m in store.manifests("promote")}
    promoted = {change.scores for change in Champions(base).changes if change.action == "promoted"}
    found = []
    for m in scores:
        made = outputs.get(m.inputs["base"].id)
        if "intervals" not in m.facts:  # written before there was a history
            continue
        judged = m.of is None or m.id in decisions  # what was made for a further seed may become a candidate later
        if judged and made is not None and made.identity["config"]["model"]["revision"] == base:
            found.append(_evaluation(m, outputs, prompts, datasets, decisions, promoted))
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
    m: Manifest, outputs: dict[str, Manifest], prompts: dict[str, Manifest], datasets: dict[str, Manifest],
    decisions: dict[str, bool], promoted: set[str | None],
) -> Evaluation:  # fmt: skip
    tuned = outputs.get(m.inputs["tuned"].id) if "tuned" in m.inputs else None
    dataset = datasets.get(m.inputs["dataset"].id)
    decided: Any = None
    if m.id in decisions:
        decided = "promoted" if m.id in promoted else "passed" if decisions[m.id] else "rejected"
    rows = outputs[m.inputs["base"].id].inputs["rows"].id
    asked = prompts.get(rows)
    protocol = m.facts.get("protocol", {})
    return Evaluation(
        at=m.made.at,
        recipe=m.made.origin.get("recipe", ""),
        data=dataset.identity["config"]["data"]["revision"][:8] if dataset else m.inputs["dataset"].digest[:8],
        scores=m.id,
        adapter=tuned.inputs["adapter"].id if tuned else None,
        headline={system: found[MEASURE] for system, found in m.facts["headline"].items()},
        interval=tuple(m.facts["intervals"]["tuned" if "tuned" in m.inputs else "base"][MEASURE]),
        decision=decided,
        # the name that the prompt had then: a file of the library may have been edited since
        prompt=m.made.origin.get("prompt") or (prompt_label(asked.identity["config"]["template"]) if asked else ""),
        prompts=rows,
        rows=protocol.get("rows"),
        rows_in_split=protocol.get("rows_in_split"),
        overrides=m.made.origin.get("overrides", ""),
    )


def overrides_by_recipe(made: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """(recipe with its revision, overrides), each recipe once, of those that had overrides."""
    return list({recipe: (recipe, overrides) for recipe, overrides in made if overrides}.values())


def history(base: str, as_json: bool, plot: Path | None) -> None:
    """Print the table to standard output; with `plot`, draw it into an SVG file."""
    found, champions = evaluations(base), Champions(base)
    if plot is not None:
        from tasks.reporting.plots import history_plot

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
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    if not found:
        console.print("no evaluations of this base model yet: `dialogsum run` makes one")
        return
    low = min(evaluation.interval[0] for evaluation in found)
    high = max(evaluation.interval[1] for evaluation in found)
    axis = f"ROUGE-1 (95 % interval, axis {low:.0f} to {high:.0f})"
    table = Table(box=None, pad_edge=False)
    figures = ("dialogues", "base", "tuned", "champion")
    for heading in ("at (UTC)", "recipe", "data", "adapter", "prompt", *figures, axis, "decision"):
        table.add_column(
            heading, justify="right" if heading in figures else "left", min_width=WHISKER if heading == axis else None,
            no_wrap=heading not in ("recipe", "prompt", axis),
        )  # fmt: skip
    prompts = _prompts(found)
    for e in found:
        table.add_row(
            e.at[:16].replace("T", " "), escape(visible(e.recipe)), e.data, e.adapter or "none", escape(visible(prompts[e.scores])),
            f"{e.dialogues}{'*' if _partial(e) else ''}" or "-",
            *[f"{e.headline[name]:.2f}" if name in e.headline else "-" for name in ("base", "tuned", "champion")],
            _whisker(e, low, high), e.decision or "-",
        )  # fmt: skip
    console.print(table)
    for line in _notes(found, champions):
        console.print(escape(line), soft_wrap=True)


def _notes(found: list[Evaluation], champions: Champions) -> list[str]:
    """What stands below the table: who is champion, rollbacks, what the marks mean, overrides."""
    notes = [f"champion: {champions.current.adapter}"] if champions.current else []
    for rollback in champions.rollbacks:
        again = f"; promoted again {_minute(rollback.reinstated)} UTC" if rollback.reinstated else ""
        notes.append(f"rolled back: {rollback.adapter}, {_minute(rollback.at)} UTC{again}")
    if any(map(_partial, found)):
        notes.append("* only a part of the test dialogues: do not compare with evaluations on all of them")
    made = overrides_by_recipe((e.recipe, e.overrides) for e in found)
    return [*notes, *(visible(f"{recipe}: with {overrides}") for recipe, overrides in made)]


def _prompts(found: list[Evaluation]) -> dict[str, str]:
    """Scores -> prompt, with the id of the filled prompts where two prompts have had the same name."""
    formatted = {m.id: m for m in Store.current().manifests("format", {e.prompts for e in found})}
    texts: dict[str, set[str]] = {}
    for e in found:
        if e.prompts in formatted:
            texts.setdefault(e.prompt, set()).add(formatted[e.prompts].identity["config"]["template"])
    several = {prompt for prompt, templates in texts.items() if len(templates) > 1}
    return {e.scores: f"{e.prompt} ({e.prompts})" if e.prompt in several else e.prompt or "-" for e in found}


def _partial(e: Evaluation) -> bool:
    return bool(e.rows and e.rows_in_split and e.rows < e.rows_in_split)


def _minute(at: str) -> str:
    return at[:16].replace("T", " ")


def _whisker(evaluation: Evaluation, low: float, high: float, width: int = WHISKER) -> str:
    """The interval as a line of text, the score as a dot on it."""

    def place(value: float) -> int:
        return round((value - low) / max(high - low, 1e-9) * (width - 1))

    first, last = map(place, evaluation.interval)
    dot = place(evaluation.headline.get("tuned", evaluation.headline["base"]))
    return "".join("●" if i == dot else "─" if first <= i <= last else " " for i in range(width))

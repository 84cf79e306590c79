"""history: print the evaluations of a base model and its champions."""

import json
from pathlib import Path

from rich.markup import escape

from artifacts.artifact_store import Store
from artifacts.champions import Champions
from artifacts.errors import RequestError
from artifacts.text import one_line
from flows.cli.terminal import new_table, stdout_console
from flows.evaluation_history import SplitUse, evaluations, overrides_by_recipe, uses_of_test_split
from flows.time_labels import minute
from tasks.config import Evaluation
from tasks.manifest_views import FormattedRowsView
from tasks.metrics.score_table import System
from tasks.reporting.escaping import visible

WHISKER_WIDTH = 24
"""Characters in which the interval of a score is drawn."""
SYSTEMS = (System.BASE, System.TUNED, System.CHAMPION)


def show_history(base: str, as_json: bool, plot: Path | None) -> None:
    """Print the evaluations of a base model (its revision) to standard output.

    Args:
        base: revision of the base model.
        as_json: print one JSON object instead of the table.
        plot: SVG file to draw the history into as well. RequestError if it cannot be written.
    """
    rows, champions, uses = evaluations(base), Champions(Store.current(), base), uses_of_test_split(base)
    if plot is not None:
        _write_plot(rows, plot)
    if as_json:
        changes = [change.model_dump(mode="json") for change in champions.changes]
        dumped = [row.model_dump(mode="json") for row in rows]
        used = [use.model_dump(mode="json") for use in uses]
        print(json.dumps({"evaluations": dumped, "champions": changes, "test_split": used}, ensure_ascii=False))
        return
    console = stdout_console()
    if not rows:
        console.print("no evaluations of this base model yet: `dialogsum run` makes one")
        return
    low = min(row.interval[0] for row in rows)
    high = max(row.interval[1] for row in rows)
    axis = f"ROUGE-1 (95 % interval, axis {low:.0f} to {high:.0f})"
    headings = ("at (UTC)", "recipe", "data", "adapter", "prompt", "dialogues", *SYSTEMS, axis, "decision")
    judged = ("judge",) if any(row.judge for row in rows) else ()
    table = new_table(*headings, *judged, right=("dialogues", *SYSTEMS, *judged), wrap=("recipe", "prompt", axis))
    table.columns[headings.index(axis)].min_width = WHISKER_WIDTH
    prompts = _prompts(rows)
    for row in rows:
        scores = [f"{row.headline[system]:.2f}" if system in row.headline else "-" for system in SYSTEMS]
        table.add_row(
            minute(row.at),
            escape(visible(row.recipe)),
            row.data,
            row.adapter or "none",
            escape(visible(prompts[row.scores])),
            f"{row.dialogues}{'*' if _is_partial(row) else ''}" or "-",
            *scores,
            _whisker(row, low, high),
            row.decision or "-",
            *([_judge(row)] if judged else []),
        )
    console.print(table)
    for line in _notes(rows, champions, uses):
        console.print(escape(line), soft_wrap=True)


def _write_plot(rows: list[Evaluation], file: Path) -> None:
    from tasks.reporting.plots import history_plot

    try:
        file.write_text(history_plot(rows, standalone=True), encoding="utf-8")
    except OSError as error:
        reason = one_line(error.strerror, 80)
        raise RequestError(f"--plot {one_line(file, 80)}: cannot be written ({reason})") from error


def _notes(rows: list[Evaluation], champions: Champions, uses: list[SplitUse]) -> list[str]:
    """Lines below the table: champion, rollbacks, the meaning of the asterisk, uses of the test split, overrides."""
    notes = [f"champion: {champions.current.adapter}"] if champions.current else []
    for rollback in champions.rollbacks:
        again = f"; promoted again {minute(rollback.reinstated)} UTC" if rollback.reinstated else ""
        notes.append(f"rolled back: {rollback.adapter}, {minute(rollback.at)} UTC{again}")
    if any(map(_is_partial, rows)):
        notes.append("* only part of the test dialogues: do not compare with evaluations on all of them")
    notes += map(_use, uses)
    overrides = overrides_by_recipe((row.recipe, row.overrides) for row in rows)
    return [*notes, *(visible(f"{recipe}: with {text}") for recipe, text in overrides)]


def _use(use: SplitUse) -> str:
    """`smollm2-135m: 3 settings (2 adapters) scored on the test split, the last on 2026-11-22`."""
    settings = "1 setting" if use.settings == 1 else f"{use.settings} settings"
    adapters = "1 adapter" if use.adapters == 1 else f"{use.adapters} adapters"
    return visible(f"{use.recipe}: {settings} ({adapters}) scored on the test split, the last on {use.last[:10]}")


def _prompts(rows: list[Evaluation]) -> dict[str, str]:
    """Score artifact -> prompt, with the id of the filled prompts where one name stands for several templates."""
    formatted = {m.id: m for m in Store.current().manifests("format", {row.prompts for row in rows})}
    templates: dict[str, set[str]] = {}
    for row in rows:
        if row.prompts in formatted:
            templates.setdefault(row.prompt, set()).add(FormattedRowsView(formatted[row.prompts]).template)
    ambiguous = {prompt for prompt, texts in templates.items() if len(texts) > 1}
    return {
        row.scores: f"{row.prompt} ({row.prompts})" if row.prompt in ambiguous else row.prompt or "-" for row in rows
    }


def _is_partial(row: Evaluation) -> bool:
    return bool(row.rows and row.rows_in_split and row.rows < row.rows_in_split)


def _judge(row: Evaluation) -> str:
    """Score of the candidate, or of the base model, by the judge; `-` without one."""
    score = row.judge.get(System.TUNED, row.judge.get(System.BASE))
    return "-" if score is None else f"{score:.1f}"


def _whisker(row: Evaluation, low: float, high: float) -> str:
    """The interval as a line of characters, with a dot at the score."""

    def column(value: float) -> int:
        return round((value - low) / max(high - low, 1e-9) * (WHISKER_WIDTH - 1))

    first, last = map(column, row.interval)
    dot = column(row.headline.get(System.TUNED, row.headline[System.BASE]))
    return "".join("●" if i == dot else "─" if first <= i <= last else " " for i in range(WHISKER_WIDTH))

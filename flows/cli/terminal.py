"""Terminal output: progress on standard error while stages run, tables on standard output."""

import sys
from collections.abc import Container, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from artifacts.text import one_line
from flows.run_summary import DecisionSummary, RunSummary
from tasks.execution.listener import StageEntry
from tasks.metrics.score_table import MODELS, System

WIDTH = 200
"""Columns of a table that is written to a file or a pipe."""
DECISIONS = {
    "promoted": "[green]champion[/green]",
    "passed": "passed the gate, not promoted (gate.automatic is off)",
    "rejected": "[red]rejected[/red]",
}
"""State of a promotion decision -> how it is printed."""


def stdout_console() -> Console:
    """Console on standard output. It has a fixed width unless standard output is a terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)


def new_table(*headings: str, right: Container[str] = (), wrap: Container[str] = ()) -> Table:
    """Table without borders.

    Args:
        headings: plain text, one for each column.
        right: headings of the columns that are aligned right.
        wrap: headings of the columns whose cells may take several lines.
    """
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        justify = "right" if heading in right else "left"
        table.add_column(escape(heading), justify=justify, no_wrap=heading not in wrap)  # type: ignore[arg-type]
    return table


class Terminal:
    """Listener that prints a line for each stage and draws a bar; without a terminal, a line every tenth of a stage."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.output = stdout_console()
        self.label, self.last_decile = "", -1
        self.bar: Progress | None = None
        self.task: Any = None

    def stage(self, label: str, status: str, reason: str, artifact: str) -> None:
        self.label, self.last_decile = label, -1
        if status == "run":
            self.console.print(f"[bold]{escape(label)}[/bold]  {escape(one_line(reason))}")

    def finished(self, entry: StageEntry) -> None:
        self.close()
        if entry.status == "run":
            self.console.print(f"  [green]done[/green] {entry.artifact}, {entry.rows} rows, {entry.seconds:.1f} s")
        else:
            self.console.print(
                f"[bold]{escape(entry.label)}[/bold]  [cyan]reused[/cyan] {entry.artifact}, {escape(entry.reason)}"
            )

    def progress(self, done: int, total: int, note: str = "") -> None:
        if not self.console.is_terminal:
            decile = 10 * done // total if total else 0
            if total and decile > self.last_decile:
                self.last_decile = decile
                self.console.print(f"  {done} of {total}  {escape(note)}")
            return
        if self.bar is None:
            self.bar = Progress(
                TextColumn("  {task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=self.console,
                transient=True,
            )
            self.task = self.bar.add_task(escape(self.label), total=total or None, note="")
            self.bar.start()
        self.bar.update(self.task, completed=done, total=total or None, note=escape(note))

    def log(self, line: str) -> None:
        self.console.print(f"  [dim]{escape(one_line(line))}[/dim]")

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Nothing: the note of `progress` has the loss."""

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def stages(self, entries: list[StageEntry]) -> None:
        """Print which stages run or are reused, and why."""
        table = new_table("stage", "", "artifact", "why", wrap=("why",))
        for entry in entries:
            colour = "green" if entry.status == "run" else "cyan"
            table.add_row(
                entry.label,
                f"[{colour}]{entry.status}[/{colour}]",
                entry.artifact or "-",
                escape(one_line(entry.reason)),
            )
        self.output.print(table)

    def table(self, rows: list[dict[str, Any]], remark: str) -> None:
        """Print rows with the same keys as a table, and a remark below it. Only the column `note` wraps."""
        figures = [heading for heading, value in rows[0].items() if not isinstance(value, str)]
        table = new_table(*rows[0], right=figures, wrap=("note",))
        for row in rows:
            table.add_row(*[escape(str(value)) for value in row.values()])
        self.output.print(table)
        self.output.print(escape(remark), soft_wrap=True)

    def scores(self, summary: RunSummary, labels: Mapping[str, str], data: str = "") -> None:
        """Print the headline scores, the gate's decision, what changed in the data, and the path of the report.

        labels: system -> its name in the table. data: one sentence; empty if there is no champion.
        """
        scores = summary.scores
        types = list(scores[System.BASE])
        table = new_table("F1 x 100", *types, right=types)
        for system in (system for system in MODELS if system in scores):
            label = labels.get(system, system)
            table.add_row(escape(label), *[f"{scores[system][each]:.2f}" for each in types])
        for system in (System.BASE, System.PREVIOUS, System.CHAMPION):
            if system in scores and System.TUNED in scores:
                differences = [scores[System.TUNED][each] - scores[system][each] for each in types]
                label = f"difference from {labels.get(system, system)}"
                table.add_row(escape(label), *[f"{difference:+.2f}" for difference in differences])
        for number, seed in enumerate(summary.seeds or [], 1):
            table.add_row(f"seed {number}", *[f"{seed[each]:.2f}" for each in types])
        self.output.print(table)
        if summary.decision:
            self._decision(summary.decision)
        for result in summary.conditions or []:
            mark = "[green]met    [/green]" if result.met else "[red]not met[/red]"
            self.output.print(f"{mark}  {escape(result.condition)}: {escape(result.reason)}", soft_wrap=True)
        if data:
            self.output.print(data, soft_wrap=True)
        self.output.print(f"report: {escape(summary.report)}", soft_wrap=True)

    def _decision(self, decision: DecisionSummary) -> None:
        self.output.print(f"{decision.adapter}: {DECISIONS[decision.state]}")
        for check in decision.checks:
            mark = "[green]yes[/green]" if check.passed else "[red]no [/red]"
            self.output.print(f"  {mark if check.applied else ' - '}  {escape(check.reason)}", soft_wrap=True)

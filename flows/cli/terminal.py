"""What a person sees on standard error while stages run: one line a stage, a bar where there is a terminal."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from artifacts.errors import one_line


class Terminal:
    """Listener that draws. Without a terminal it prints a line every tenth of a stage instead of a bar."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.answers = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
        self.label, self.tenth = "", -1
        self.bar: Progress | None = None
        self.task: Any = None

    def stage(self, label: str, status: str, reason: str) -> None:
        self.label, self.tenth = label, -1
        if status == "run":
            self.console.print(f"[bold]{escape(label)}[/bold]  {escape(one_line(reason))}")

    def finished(self, entry: dict[str, Any]) -> None:
        self.close()
        label = " ".join(filter(None, [entry["stage"], entry["of"]]))
        if entry["status"] == "run":
            self.console.print(
                f"  [green]done[/green] {entry['artifact']}, {entry['rows']} rows, {entry['seconds']:.1f} s"
            )
        else:
            self.console.print(
                f"[bold]{escape(label)}[/bold]  [cyan]reused[/cyan] {entry['artifact']}, {escape(entry['reason'])}"
            )

    def progress(self, done: int, total: int, note: str = "") -> None:
        if not self.console.is_terminal:
            tenth = 10 * done // total if total else 0
            if total and tenth > self.tenth:
                self.tenth = tenth
                self.console.print(f"  {done} of {total}  {escape(note)}")
            return
        if self.bar is None:
            columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"))  # fmt: skip
            self.bar = Progress(*columns, console=self.console, transient=True)
            self.task = self.bar.add_task(escape(self.label), total=total or None, note="")
            self.bar.start()
        self.bar.update(self.task, completed=done, total=total or None, note=escape(note))

    def log(self, line: str) -> None:
        self.console.print(f"  [dim]{escape(one_line(line))}[/dim]")

    def close(self) -> None:
        """End the bar."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None

    def stages(self, stages: list[dict[str, Any]]) -> None:
        """Table of what runs or is reused, and why."""
        table = Table(box=None, pad_edge=False)
        for heading in ("stage", "", "artifact", "why"):
            table.add_column(heading, no_wrap=heading != "why")
        for entry in stages:
            colour = "green" if entry["status"] == "run" else "cyan"
            label = " ".join(filter(None, [entry["stage"], entry["of"]]))
            table.add_row(
                label,
                f"[{colour}]{entry['status']}[/{colour}]",
                entry["artifact"] or "-",
                escape(one_line(entry["reason"])),
            )
        self.answers.print(table)

    def table(self, rows: list[dict[str, Any]], remark: str) -> None:
        """Rows with the same keys as a table, and a remark below it. In little room the notes wrap, figures do not."""
        table = Table(box=None, pad_edge=False)
        for key, value in rows[0].items():
            table.add_column(key, justify="left" if isinstance(value, str) else "right", no_wrap=key != "note")
        for row in rows:
            table.add_row(*[escape(str(value)) for value in row.values()])
        self.answers.print(table)
        self.answers.print(escape(remark), soft_wrap=True)

    def scores(self, summary: dict[str, Any], labels: Mapping[str, str]) -> None:
        """Table of the headline scores, the gate's decision, and where the report is.

        labels: system -> its name in the table.
        """
        table = Table(box=None, pad_edge=False)
        table.add_column("F1 x 100")
        systems = summary["scores"]
        kinds = list(systems["base"])
        for kind in kinds:
            table.add_column(kind, justify="right")
        for name in (name for name in ("base", "before", "champion", "tuned") if name in systems):
            table.add_row(escape(labels.get(name, name)), *[f"{systems[name][kind]:.2f}" for kind in kinds])
        for name in (name for name in ("base", "before", "champion") if name in systems and "tuned" in systems):
            gains = [systems["tuned"][kind] - systems[name][kind] for kind in kinds]
            table.add_row(escape(f"difference to {labels.get(name, name)}"), *[f"{gain:+.2f}" for gain in gains])
        for number, found in enumerate(summary.get("seeds", [])):
            table.add_row(f"seed {number + 1}", *[f"{found[kind]:.2f}" for kind in kinds])
        self.answers.print(table)
        if decision := summary.get("decision"):
            self._decision(decision)
        self.answers.print(f"report: {escape(summary['report'])}", soft_wrap=True)

    def _decision(self, decision: dict[str, Any]) -> None:
        said = {
            "promoted": "[green]champion[/green]",
            "passed": "passes the gate, not made champion (gate.automatic is off)",
            "rejected": "[red]rejected[/red]",
        }
        self.answers.print(f"{decision['adapter']}: {said[decision['state']]}")
        for check in decision["checks"]:
            mark = "[green]yes[/green]" if check["passed"] else "[red]no [/red]"
            mark = mark if check.get("applied", True) else " - "
            wanted = f", wanted {check['wanted']}" if check["wanted"] else ""
            found = f"{check['name']}: {check['got']}{wanted}" if wanted else str(check["got"])
            self.answers.print(f"  {mark}  {escape(found)}", soft_wrap=True)

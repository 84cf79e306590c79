"""Markdown pages of a finished run in the Prefect UI: the report, the scores, the stages, and where the report is.

Tables are Markdown too, since the newer of Prefect's two UIs shows links in its own tables as text.
"""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact

from artifacts.manifest import Manifest
from artifacts.text import one_line
from tasks.execution.listener import StageEntry
from tasks.reporting.escaping import escape_markdown
from tasks.reporting.links import escape_and_link, link_ids, report_url

COLUMNS = ("stage", "of", "status", "artifact", "rows", "seconds", "reason")


def report_page(text: str, report: str, file: str, known: Container[str]) -> str:
    """The first screen of a report, `text`, below the link to the full report. `file` is its path or URI."""
    url = report_url(report)
    return f"{f'**[Open the full report]({url})**' if url else _by_hand(file)}\n\n{link_ids(text, known)}"


def publish_report_file(report: str, file: str, recipe: str) -> None:
    """The artifact `report-file`: a link if a station serves reports, otherwise the path of the file."""
    url, description = report_url(report), f"{recipe}: the full report, {report}"
    if url:
        create_link_artifact(url, "report.html", key="report-file", description=description)
    else:
        create_markdown_artifact(_by_hand(file), key="report-file", description=description)


def scores_page(rows: Sequence[Mapping[str, Any]], scores: Manifest, known: Container[str]) -> str:
    """The table of scores, and the artifacts behind it."""
    made_from = ", ".join(f"{role} `{ref.id}`" for role, ref in scores.inputs.items())
    return f"{markdown_table(rows, known)}\n\n{link_ids(f'`{scores.id}`, made from {made_from}', known)}\n"


def stages_page(entries: Sequence[StageEntry], known: Container[str]) -> str:
    """What ran, what was reused, and why."""
    rows = (entry.to_json() for entry in entries)
    return markdown_table([{name: row[name] for name in COLUMNS} for row in rows], known) + "\n"


def _by_hand(file: str) -> str:
    """A browser opens no link from a page of a server to a file, so the path is text. Backticks would end it."""
    shown = one_line(file.replace("`", "'"), 4000)
    how = (
        "`dialogsum station up` serves it"
        if "://" in file
        else ("open it in a browser on that machine, or have it served by `dialogsum station up`")
    )
    return f"The full report is `{shown}`: {how}."


def markdown_table(rows: Sequence[Mapping[str, Any]], known: Container[str]) -> str:
    """Rows with the same keys as a table, all text escaped; `known`: ids that have a page, to which it links."""

    def cell(value: Any) -> str:
        return (
            "" if value is None else escape_and_link(f"{value:.1f}" if isinstance(value, float) else str(value), known)
        )

    lines = [f"| {' | '.join(cell(value) for value in row.values())} |" for row in rows]
    return "\n".join([f"| {' | '.join(map(escape_markdown, rows[0]))} |", "|---" * len(rows[0]) + "|", *lines])

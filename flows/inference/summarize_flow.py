"""The flow `summarize`: does what `dialogsum summarize` does, on a worker's machine and with its files."""

import re
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed
from pydantic import Field

from artifacts.errors import RequestError
from artifacts.text import one_line
from flows.failures import fails_in_one_line
from flows.inference.prompt_library import names
from flows.inference.summarize_file import result_line, summarize_file
from flows.pipeline import RECIPE_NAMES, Override
from flows.run_names import kept_or
from flows.secrets_in_text import NO_SECRET
from tasks.gpu_lease import hold_gpu
from tasks.prefect_task import RunEvents
from tasks.reporting.escaping import escape_markdown
from tasks.summarization.request import SummarizeRequest
from tasks.summarization.table_files import Table, open_table, pick_column
from tasks.transcripts.formats import FORMAT_NAMES

SHOWN_ROWS = 5
"""Number of a table's rows that the run's artifact shows."""
DETECTED = ""
"""The empty choice in the form's list of formats."""
PublicText = Annotated[str, Field(json_schema_extra={"pattern": NO_SECRET})]
"""A field whose form refuses credentials, since Prefect stores parameters."""
ADAPTERS_OWN = ""
"""The empty choice in the form's list of recipes: the recipe of the adapter."""


@flow(
    name="summarize",
    flow_run_name=kept_or(lambda parameters: f"summarize {parameters['source']}"),
    persist_result=False,
)
@fails_in_one_line
def summarize(
    source: Annotated[PublicText, Field(min_length=2, examples=["/data/calls.csv"])],
    column: PublicText = "",
    adapter: Annotated[
        PublicText, Field(min_length=1, examples=["champion", "latest", "none", "train-1a2b3c4d"])
    ] = "champion",
    prompt: Annotated[PublicText, Field(examples=names())] = "",
    out: PublicText = "",
    recipe: Annotated[str, Field(json_schema_extra={"enum": [ADAPTERS_OWN, *RECIPE_NAMES]})] = ADAPTERS_OWN,
    overrides: list[Override] = [],  # noqa: B006  # never written to
    format: Annotated[str, Field(json_schema_extra={"enum": [DETECTED, *FORMAT_NAMES]})] = DETECTED,
    strict: bool = False,
) -> Any:
    """Summarize a file of dialogues with an existing adapter. Start a killed run again to resume it.

    Args:
        source: Table (CSV, TSV, JSON lines, Parquet) or conversation (text, VTT, SRT, JSON) on the worker's machine.
        column: Column with the dialogues; usually detected. Tables only.
        adapter: `champion`, `latest`, an artifact id, `none` for the base model, a folder or a hub id.
        prompt: Name of a file in flows/prompts, or a text with `{dialogue}` in it; default: the adapter's prompt.
        out: File to write; default: for a table calls.summaries.csv beside calls.csv, for a conversation no file.
        recipe: Recipe that names the base model; default (empty): the adapter's.
        overrides: Settings that override the recipe, each `section.key=value`, such as `generate.candidates=1`.
        format: Format of the dialogues, of docs/reference/transcript-formats.md; default (empty): detected.
        strict: Refuse a file of which anything is left out, joined, moved or guessed.
    """  # the form shows one line per field
    if source == "-":
        raise RequestError("a deployment has no standard input: name a file that its worker can read")
    request = SummarizeRequest(
        source=source,
        column=column or None,
        adapter=adapter,
        prompt=prompt or None,
        out=out or None,
        recipe=recipe or None,
        overrides=tuple(overrides),
        format=format or None,
        strict=strict,
    )
    events = RunEvents(f"summarize {source}")
    with hold_gpu("gpu"):
        result = summarize_file(request, events)
    events.finish()
    message = result_line(result)
    page = "\n".join(
        [
            f"{escape_markdown(source)}: {escape_markdown(message)}",
            "",
            *_summaries(result, column or None),
            *_losses(result),
            "",
        ]
    )
    create_markdown_artifact(page, key="summaries", description="Summaries of a user's file")
    return Completed(message=message, data=result)


def _losses(result: dict[str, Any]) -> list[str]:
    """The format of one conversation, and a line for each kind of loss, in Markdown."""
    format_line = [f"Format: {escape_markdown(result['format'])}."] if "format" in result else []
    return ["", *format_line, "", *(f"- {escape_markdown(sentence)}" for sentence in result["losses"])]


def _summaries(result: dict[str, Any], column: str | None) -> list[str]:
    """The summary of one conversation, or the first rows of a table, in Markdown with all user text escaped."""
    if "rows" not in result:
        written = [f"Written to {escape_markdown(result['out'])}.", ""] if result["out"] else []
        return [*written, escape_markdown(result["summary"])]
    table = open_table(Path(result["out"]))
    columns = zip(*(table.values(name) for name in (pick_column(table, column), *_added_columns(table))), strict=True)
    rows = [
        f"| {number} | {escape_markdown(one_line(dialogue or '', 100))} | {escape_markdown(str(summary or stop))} |"
        for number, (dialogue, summary, stop) in enumerate(islice(columns, SHOWN_ROWS), start=1)
    ]
    return [
        f"Written to {escape_markdown(result['out'])}; its first {len(rows)} of {result['rows']} rows:",
        "",
        "| row | dialogue | summary |",
        "|---|---|---|",
        *rows,
    ]


def _added_columns(table: Table) -> list[str]:
    """Names of the columns for summary and stop; `generated_` precedes a name that INPUT has already."""
    return [
        max((name for name in table.columns if re.fullmatch(f"(generated_)*{added}", name)), key=len)
        for added in ("summary", "stop")
    ]

"""The flow `summarize`: as on the command line, on a worker's machine, which sees the same files."""

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
from flows.inference.summarize_file import in_words, summarize_file
from flows.pipeline import RECIPE_NAMES, Override
from flows.run_names import kept_or
from tasks.gpu_lease import hold_gpu
from tasks.prefect_task import RunEvents
from tasks.reporting.escaping import escape_markdown
from tasks.summarization.request import SummarizeRequest
from tasks.summarization.table_files import Table, open_table, pick_column
from tasks.transcripts.formats import FORMAT_NAMES

SHOWN_ROWS = 5
"""Rows of a table that the artifact shows."""
DETECTED = ""
"""The empty choice of the form's list of formats."""
ADAPTERS_OWN = ""
"""The empty choice of the form's list of recipes."""


@flow(
    name="summarize",
    flow_run_name=kept_or(lambda parameters: f"summarize {parameters['source']}"),
    persist_result=False,
)
@fails_in_one_line
def summarize(
    source: Annotated[str, Field(min_length=2, examples=["/data/calls.csv"])],
    column: str = "",
    adapter: Annotated[
        str, Field(min_length=1, examples=["champion", "latest", "none", "train-1a2b3c4d"])
    ] = "champion",
    prompt: Annotated[str, Field(examples=names())] = "",
    out: str = "",
    recipe: Annotated[str, Field(json_schema_extra={"enum": [ADAPTERS_OWN, *RECIPE_NAMES]})] = ADAPTERS_OWN,
    overrides: list[Override] = [],  # noqa: B006  # never written to
    format: Annotated[str, Field(json_schema_extra={"enum": [DETECTED, *FORMAT_NAMES]})] = DETECTED,
    strict: bool = False,
) -> Any:
    """Summarize a file of dialogues with an existing adapter. A run that was killed resumes if it is started again.

    Args:
        source: File on the worker's machine: a table (CSV, TSV, JSON lines, Parquet) with one dialogue per row, or one conversation (text, WebVTT, SRT, chat as JSON).
        column: Column that holds the dialogues; usually detected. Tables only.
        adapter: `champion`, `latest`, an artifact id, `none` for the base model, a folder or a hub id.
        prompt: Name of a file in flows/prompts, or the text itself with `{dialogue}` in it; default: the adapter's prompt.
        out: File to write. Default for a table: a new file beside it, such as calls.summaries.csv. Default for one conversation: no file; its summary is in the run's artifact `summaries`.
        recipe: Recipe whose base model to use; default (empty): the adapter's.
        overrides: Settings that override the recipe, each `section.key=value`, such as `generate.candidates=1`.
        format: Format of the dialogues, of docs/reference/transcript-formats.md; default (empty): detected.
        strict: Refuse a file of which anything is left out, joined, moved or guessed.
    """  # one field of the form is one line
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
        done = summarize_file(request, events)
    events.finish()
    message = in_words(done)
    page = "\n".join(
        [
            f"{escape_markdown(source)}: {escape_markdown(message)}",
            "",
            *_summaries(done, column or None),
            *_losses(done),
            "",
        ]
    )
    create_markdown_artifact(page, key="summaries", description="Summaries of a user's file")
    return Completed(message=message, data=done)


def _losses(done: dict[str, Any]) -> list[str]:
    """The format of one conversation, and what was lost of the file; in Markdown."""
    read = [f"Format: {escape_markdown(done['format'])}."] if "format" in done else []
    return ["", *read, "", *(f"- {escape_markdown(sentence)}" for sentence in done["losses"])]


def _summaries(done: dict[str, Any], column: str | None) -> list[str]:
    """The summary of one conversation, or the first rows of a table; in Markdown, with everything foreign escaped."""
    if "rows" not in done:
        written = [f"Written to {escape_markdown(done['out'])}.", ""] if done["out"] else []
        return [*written, escape_markdown(done["summary"])]
    table = open_table(Path(done["out"]))
    columns = zip(*(table.values(name) for name in (pick_column(table, column), *_added(table))), strict=True)
    rows = [
        f"| {number} | {escape_markdown(one_line(dialogue or '', 100))} | {escape_markdown(str(summary or stop))} |"
        for number, (dialogue, summary, stop) in enumerate(islice(columns, SHOWN_ROWS), start=1)
    ]
    return [
        f"Written to {escape_markdown(done['out'])}; its first {len(rows)} of {done['rows']} rows:",
        "",
        "| row | dialogue | summary |",
        "|---|---|---|",
        *rows,
    ]


def _added(table: Table) -> list[str]:
    """The columns `summary` and `stop`, which are `generated_summary` and `generated_stop` where INPUT had such names."""
    return [
        max((name for name in table.columns if re.fullmatch(f"(generated_)*{added}", name)), key=len)
        for added in ("summary", "stop")
    ]

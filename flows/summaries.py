"""The flow `summarize`: as on the command line, on a worker's machine, which sees the same files."""

from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed
from pydantic import Field

from artifacts.errors import RequestError
from flows.library import names
from flows.pipeline import Override, RecipeName
from flows.summarizing import in_words, summarize_file
from tasks.gate import gpu_gate
from tasks.shell import RunEvents
from tasks.untrusted import plain


@flow(name="summarize", flow_run_name="summarize {source}", persist_result=False)
def summarize(
    source: Annotated[str, Field(min_length=2, examples=["/data/calls.csv"])],
    column: str = "",
    adapter: Annotated[
        str, Field(min_length=1, examples=["champion", "latest", "none", "train-1a2b3c4d"])
    ] = "champion",
    prompt: Annotated[str, Field(examples=names())] = "",
    out: str = "",
    recipe: RecipeName | None = None,
    overrides: list[Override] = [],  # noqa: B006  # never written to
) -> Any:
    """Summarize a file of dialogues with an adapter that is there; a run that was killed goes on where it was.

    Args:
        source: CSV, JSON lines or Parquet with a dialogue a row, or one conversation (text, WebVTT, SRT, chat as JSON).
        column: with the dialogues; found by its name unless given.
        adapter: `champion`, `latest`, an artifact id, `none` for the base model, a folder or a hub id.
        prompt: a name in flows/prompts, or the text itself with `{dialogue}` in it; the adapter's own unless given.
        out: file for the answers; INPUT.summaries.… unless given.
        recipe: whose base model; the adapter's own unless given.
        overrides: `section.key=value`, such as `generate.candidates=1`.
    """
    if source == "-":
        raise RequestError("a deployment has no standard input: name a file that its worker can read")
    events = RunEvents(f"summarize {source}")
    with gpu_gate("gpu"):
        done = summarize_file(
            source, events, column or None, adapter, prompt or None, out or None, recipe, overrides
        )  # fmt: skip
    events.finish()
    said = in_words(done)
    found = [f"{plain(source)}: {plain(said)}", "", plain(done["out"] or done["summary"])]
    create_markdown_artifact("\n".join(found), key="summaries", description="Summaries of a user's file")
    return Completed(message=said, data=done)

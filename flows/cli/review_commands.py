"""review: blind pairwise votes of people on the summaries of a candidate."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from artifacts.errors import RequestError
from flows.cli.options import AsJson, Debug, completed, ids

if TYPE_CHECKING:
    from artifacts.manifest import Manifest
    from tasks.execution.job import Job

commands = typer.Typer()
PAGE, LIMIT = Path("review.html"), 40


@commands.command()
def review(
    scores: Annotated[
        str | None,
        typer.Argument(
            metavar="[SCORES_ID]",
            help="Id of a score artifact; default: the newest evaluation of a tuned model.",
            autocompletion=ids,
        ),
    ] = None,
    votes: Annotated[
        list[str] | None,
        typer.Option("--votes", metavar="FILE", help="Read the votes that a page saved; repeatable. Writes no page."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.html", help=f"Page to write; default: {PAGE}.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help=f"Most dialogues on the page; default: {LIMIT}."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", metavar="N", min=0, max=2**32 - 1, help="Seed of sides and dialogues; default: from the id."
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="champion|base|before",
            help="Compare the tuned model with this one; default: champion, or base if there is no champion.",
            autocompletion=completed(lambda: ["champion", "base", "before"]),
        ),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare summaries by blind votes of people. Writes a page to vote on; --votes computes the win rate."""
    options = {"--out": out, "--limit": limit, "--seed": seed, "--against": against}
    if votes:
        if of_page := [name for name, value in options.items() if value is not None]:
            raise RequestError(f"{of_page[0]} belongs to the page; with --votes it is read from the files")
        from flows.cli.review_output import print_reviews

        print_reviews(_make(votes, scores, debug), as_json)
        return
    from flows.cli.review_output import print_page
    from flows.review_page import compare, find_scores, write_page

    summary = write_page(compare(find_scores(scores), against), out or PAGE, limit or LIMIT, seed)
    if as_json:
        print(json.dumps(summary.model_dump(mode="json"), ensure_ascii=False))
    else:
        print_page(summary)


def _make(votes: list[str], scores: str | None, debug: bool) -> "list[Manifest]":
    """Make the review artifacts of these files of votes, or find them in the store, each by a Prefect flow."""
    from artifacts.artifact_store import Store
    from flows.review_votes import review_jobs
    from tasks.execution.job import save_job

    store = Store.current()
    jobs: list[Job] = review_jobs(votes, scores)
    store.check_writable()
    from flows.prefect_environment import configure_prefect

    configure_prefect(debug)
    from flows.cli.terminal import Terminal
    from flows.stage_flows import review
    from flows.station.server_check import answering, check_server
    from tasks.prefect_task import listening

    check_server()
    for job in jobs:
        save_job(store, job)
        with answering(), listening(Terminal()):
            review(artifact=job.artifact, refresh=False)
    return [store.by_id(job.artifact) for job in jobs]

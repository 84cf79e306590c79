"""show, status, results, doctor, store, gc, pin, unpin: artifacts, and the machine that makes them."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import ArtifactId, AsJson, Debug, Overrides, RecipeName, ids

commands = typer.Typer()


@commands.command()
def show(
    artifact: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="Id of an artifact, as train-1a2b3c4d.", autocompletion=ids),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List all artifacts, or verify one with its lineage."""
    from flows.cli.show import show_artifacts

    show_artifacts(artifact, as_json)


@commands.command()
def status(as_json: AsJson = False, debug: Debug = False) -> None:
    """Show at a glance whether store and station work: problems first. Exit code 1 if there is one."""
    from flows.station.current_status import current_status, raise_problems

    current = current_status()
    if as_json:
        print(current.model_dump_json())
    else:
        from flows.cli.status_output import status_text

        print(status_text(current))
    raise_problems(current.problems)


@commands.command()
def results(
    scores: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Ids of score artifacts; default: all evaluations.")
    ] = None,
    readme: Annotated[
        Path | None,
        typer.Option("--readme", metavar="FILE", help="Write the table into this file instead, between its marks."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Print the table of results in Markdown. Every figure comes from a score artifact."""
    from flows.cli.results_table import BEGIN, END, markdown_table, replace_block

    table = markdown_table(scores or [])
    if readme is None:
        print(table)
    else:
        replace_block(readme, BEGIN, END, table)


@commands.command()
def doctor(
    recipe: RecipeName = "quickstart", overrides: Overrides = None, as_json: AsJson = False, debug: Debug = False
) -> None:
    """Check the machine before a run. Checks versions, GPU, memory, store, hub, data, licence and the training rows."""
    from flows.cli.doctor import check_machine
    from flows.recipe import load_recipe

    check_machine(load_recipe(recipe, overrides or []), as_json)


@commands.command()
def store(as_json: AsJson = False, debug: Debug = False) -> None:
    """Show how much space each stage uses in the store. Also lists champions and pinned artifacts."""
    from flows.cli.store_report import show_store

    show_store(as_json)


@commands.command()
def gc(
    days: Annotated[
        float, typer.Option("--days", metavar="N", help="Keep what was made or used in the last N days.")
    ] = 30,
    reports: Annotated[
        int, typer.Option("--reports", metavar="N", min=0, help="Keep the newest N reports, however old.")
    ] = 0,
    champions: Annotated[
        int | None,
        typer.Option(
            "--champions",
            metavar="N",
            min=2,
            help="Keep N champions of each base model; default: all that rollbacks can restore.",
        ),
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the artifacts instead of listing them.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List artifacts that are no longer needed. Champions, pinned artifacts and those of recent runs are kept."""
    from flows.cli.store_report import collect_garbage

    collect_garbage(days, reports, champions, delete, as_json)


@commands.command()
def pin(artifact: ArtifactId, debug: Debug = False) -> None:
    """Protect an artifact from gc. Also protects everything that it was made from."""
    from artifacts import retention
    from artifacts.artifact_store import Store

    retention.pin(Store.current(), artifact)
    print(f"{artifact} is pinned")


@commands.command()
def unpin(artifact: ArtifactId, debug: Debug = False) -> None:
    """Unpin an artifact, so that gc may remove it."""
    from artifacts import retention
    from artifacts.artifact_store import Store

    retention.unpin(Store.current(), artifact)
    print(f"{artifact} is no longer pinned")

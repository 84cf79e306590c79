"""show, results, doctor: what there is, and whether a run can begin."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.options import AsJson, Debug, Overrides, RecipeName, ids

looking = typer.Typer()


@looking.command()
def show(
    artifact: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="An artifact, such as train-1a2b3c4d.", autocompletion=ids)
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the artifacts, or one with its lineage, and verify it."""
    from flows.cli import show as showing

    showing.show(artifact, as_json)


@looking.command()
def results(
    scores: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Score artifacts; all unless given.")
    ] = None,
    readme: Annotated[
        Path | None, typer.Option("--readme", metavar="FILE", help="Put the table between the marks in this file.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Print the table of results. It is Markdown, and made from score artifacts alone."""
    from flows.cli import results_table as told

    table = told.results(scores or [])
    if readme is None:
        print(table)
    else:
        told.write(readme, table)


@looking.command()
def doctor(
    recipe: RecipeName = "quickstart", overrides: Overrides = None, as_json: AsJson = False, debug: Debug = False
) -> None:
    """Check before a run: GPU, memory, store, hub, data. Also versions, licence, and the rows as the trainer gets them."""
    from flows.cli import doctor as checkup
    from flows.recipe import load_recipe

    checkup.doctor(load_recipe(recipe, overrides or []), as_json)

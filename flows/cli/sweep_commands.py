"""sweep: try values of a recipe's keys, and name the best."""

from typing import Annotated

import typer

from flows.cli.options import AsJson, Debug, Over, Overrides, RecipeName, Sampler, SamplerSeed, Trials

commands = typer.Typer()


@commands.command()
def sweep(
    recipe: RecipeName = "quickstart",
    over: Over = None,
    trials: Trials = None,
    sampler: Sampler = "tpe",
    seed: SamplerSeed = 0,
    budget: Annotated[
        str,
        typer.Option("--budget", metavar="2h", help="Start no trial that would take all of them beyond this time."),
    ] = "",
    no_prune: Annotated[
        bool, typer.Option("--no-prune", help="Finish every training, also one whose validation loss is high.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run trials again that failed earlier.")] = False,
    out: Annotated[
        str, typer.Option("--out", metavar="FOLDER", help="Folder for the plot and the recipe of the best trial.")
    ] = ".",
    overrides: Overrides = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Train with several values of a recipe's keys, and compare them on the validation split. Repeat it to resume."""
    from flows.cli.sweep_output import prepare_sweep, run_sweep

    parameters = {
        "recipe": recipe,
        "over": over or [],
        "trials": trials or 0,
        "sampler": sampler,
        "budget": budget,
        "prune": not no_prune,
        "seed": seed,
        "retry_failed": retry_failed,
        "overrides": overrides or [],
        "out": out,
    }
    prepare_sweep(parameters, debug)
    run_sweep(parameters, as_json)

"""run, plan, evaluate, promote, rollback, history: the pipeline and its results."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from artifacts.errors import RequestError
from artifacts.text import did_you_mean, one_line
from flows.cli.options import AsJson, Debug, Overrides, RecipeName, Refresh, adapters, prompts, stage_names

if TYPE_CHECKING:
    from flows.run_summary import RunSummary

commands = typer.Typer()
ADAPTERS = "ID|champion|latest|none"
PromptName = Annotated[
    str | None,
    typer.Option("--prompt", metavar="NAME|FILE", help="Prompt for the evaluation.", autocompletion=prompts),
]


@commands.command()
def run(
    recipe: RecipeName = "quickstart",
    overrides: Overrides = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", metavar="K", min=1, help="Train with K seeds and report how much the scores vary."),
    ] = None,
    refresh: Refresh = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Run the pipeline: train, evaluate, decide and report. Unchanged stages are reused."""
    overrides = [*(overrides or []), *([f"seeds={seeds}"] if seeds is not None else [])]
    parameters = _prepare_run(recipe, overrides, refresh, debug)
    from flows.pipeline import retrain

    _execute(retrain, parameters, as_json)


@commands.command()
def plan(
    recipe: RecipeName = "quickstart",
    adapter: Annotated[
        str | None,
        typer.Option("--adapter", metavar=ADAPTERS, help="Plan `evaluate` instead of `run`.", autocompletion=adapters),
    ] = None,
    prompt: PromptName = None,
    overrides: Overrides = None,
    refresh: Refresh = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show which stages would run or be reused, and why. Runs nothing."""
    from flows.recipe import load_recipe

    loaded, stages = load_recipe(recipe, _with_prompt(overrides, prompt)), frozenset(_checked_stages(refresh))
    # imported after the request is validated: the stages import NumPy, PyArrow and rouge_score
    from flows import dag
    from flows.adapter_lookup import find_adapter
    from flows.cli.terminal import Terminal
    from flows.planner import Planner

    resolved, planner = dag.resolve_recipe(loaded), Planner(stages)
    if adapter is None:
        dag.retrain(resolved, planner.step)
    else:
        dag.evaluate(resolved, planner.step, find_adapter(adapter, resolved.model))
    if as_json:
        print(
            json.dumps(
                {"recipe": loaded.name, "stages": [entry.to_json() for entry in planner.entries]}, ensure_ascii=False
            )
        )
    else:
        Terminal().stages(planner.entries)


@commands.command()
def evaluate(
    recipe: RecipeName = "quickstart",
    adapter: Annotated[
        str,
        typer.Option("--adapter", metavar=ADAPTERS, help="Adapter to evaluate.", autocompletion=adapters),
    ] = "latest",
    prompt: PromptName = None,
    overrides: Overrides = None,
    refresh: Refresh = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Evaluate an adapter, for example with a different prompt. Trains nothing."""
    parameters = _prepare_run(recipe, _with_prompt(overrides, prompt), refresh, debug)
    from flows.pipeline import evaluate

    _execute(evaluate, parameters | {"adapter": adapter}, as_json)


@commands.command()
def promote(
    recipe: RecipeName = "quickstart",
    adapter: Annotated[
        str, typer.Option("--adapter", metavar="ID|latest", help="Adapter to promote.", autocompletion=adapters)
    ] = "latest",
    overrides: Overrides = None,
    refresh: Refresh = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Make an adapter champion if it passes the gate. The gate compares it with the base model and the champion."""
    parameters = _prepare_run(recipe, overrides, refresh, debug)
    from flows.pipeline import promote

    summary = _execute(promote, parameters | {"adapter": adapter}, as_json)
    if not as_json:
        from flows.cli.comparison import compare
        from flows.cli.terminal import stdout_console

        compare(summary.artifact_of("score"), stdout_console())


@commands.command()
def rollback(
    recipe: RecipeName = "quickstart", overrides: Overrides = None, as_json: AsJson = False, debug: Debug = False
) -> None:
    """Restore the previous champion. Retraining does not promote the current one again."""
    base = _base_revision(recipe, overrides)
    from artifacts.artifact_store import Store
    from artifacts.champions import Champions

    champions = Champions(Store.current(), base)
    champion = champions.roll_back(run="by hand")
    withdrawn = champions.stack[-1][0].adapter
    if as_json:
        print(json.dumps({"champion": champion.adapter if champion else None, "withdrawn": withdrawn}))
        return
    arguments = [] if recipe == "quickstart" else [recipe]
    for override in overrides or []:
        arguments += ["--set", override]
    undo = shlex.join(["dialogsum", "promote", *arguments, "--adapter", withdrawn])
    now = f"{champion.adapter} is champion again" if champion else "there is none now"
    print(f"{withdrawn} is no longer champion; {now}. Undo: {undo}")


@commands.command()
def history(
    recipe: RecipeName = "quickstart",
    overrides: Overrides = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.svg", help="Also draw the history into this SVG file.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show the evaluations of a base model and its champions."""
    base = _base_revision(recipe, overrides)
    from flows.cli.history import show_history

    show_history(base, as_json, plot)


def _prepare_run(recipe: str, overrides: list[str] | None, refresh: list[str] | None, debug: bool) -> dict[str, Any]:
    """Parameters of a flow. Raises the request's errors before Prefect is imported and a server is started."""
    from artifacts.artifact_store import Store
    from flows.prefect_environment import configure_prefect
    from flows.recipe import load_recipe

    load_recipe(recipe, overrides or [])
    stages = _checked_stages(refresh)
    Store.current().check_writable()
    configure_prefect(debug)
    return {"recipe": recipe, "overrides": overrides or [], "refresh": stages}


def _execute(flow: Callable[..., Any], parameters: dict[str, Any], as_json: bool) -> "RunSummary":
    """Run a flow in this process and print its scores, or its summary as JSON."""
    from flows.cli.terminal import Terminal
    from flows.station.server_check import answering, check_server, find_reports
    from tasks.prefect_task import listening

    check_server()
    find_reports()
    listener = Terminal()
    with answering(), listening(listener):
        summary: RunSummary = flow(**parameters)
    if as_json:
        print(json.dumps(summary.to_json(), ensure_ascii=False))
    else:
        from artifacts.artifact_store import Store
        from flows.labels import labels_of

        listener.scores(summary, labels_of(Store.current().by_id(summary.artifact_of("score"))))
    return summary


def _base_revision(recipe: str, overrides: list[str] | None) -> str:
    """Revision of the recipe's base model."""
    from flows.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or [])
    from tasks.sources.resolve import resolve_model

    return resolve_model(loaded.model).revision


def _with_prompt(overrides: list[str] | None, prompt: str | None) -> list[str]:
    """The overrides, with `--prompt` as one of them. RequestError that names --prompt if there is no such prompt."""
    if prompt:
        from flows.recipe import PROMPTS
        from tasks.models.prompt_template import load_prompt

        load_prompt(prompt, PROMPTS, "--prompt")
    return [*(overrides or []), *([f"evaluation.prompt={json.dumps(prompt)}"] if prompt else [])]


def _checked_stages(refresh: list[str] | None) -> list[str]:
    """The stages to rerun. RequestError if one does not exist."""
    for name in refresh or []:
        if name not in stage_names():
            raise RequestError(f"--refresh: no stage {one_line(name, 60)!r}{did_you_mean(name, stage_names())}")
    return refresh or []

"""run, plan, evaluate, promote, rollback, history: the pipeline and its results."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from artifacts.errors import RequestError, UnmetConditionError
from flows.cli.flow_execution import (
    base_revision,
    checked_stages,
    execute,
    parse_conditions,
    prepare_run,
    with_prompt,
)
from flows.cli.options import (
    AsJson,
    Debug,
    Over,
    Overrides,
    RecipeName,
    Refresh,
    Sampler,
    SamplerSeed,
    Trials,
    adapters,
    prompts,
)

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
    parameters = prepare_run(recipe, overrides, refresh, debug)
    from flows.pipeline import retrain

    execute(retrain, parameters, as_json)


@commands.command()
def plan(
    recipe: RecipeName = "quickstart",
    adapter: Annotated[
        str | None,
        typer.Option("--adapter", metavar=ADAPTERS, help="Plan `evaluate` instead of `run`.", autocompletion=adapters),
    ] = None,
    prompt: PromptName = None,
    over: Over = None,
    trials: Trials = None,
    sampler: Sampler = "tpe",
    seed: SamplerSeed = 0,
    overrides: Overrides = None,
    refresh: Refresh = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show which stages would run or be reused, and why; with --over what a sweep would take. Runs nothing."""
    if over:
        if adapter or refresh:
            raise RequestError("--over plans a sweep, which takes no --adapter and no --refresh")
        from flows.cli.sweep_output import print_plan

        print_plan(recipe, with_prompt(overrides, prompt), over, trials or 0, sampler, seed, as_json)
        return
    if trials:
        raise RequestError("--trials plans a sweep: add what it varies, --over KEY=VALUE,VALUE")
    from flows.recipe import load_recipe

    loaded, stages = load_recipe(recipe, with_prompt(overrides, prompt)), frozenset(checked_stages(refresh))
    # imported after the request is validated: the stages import NumPy, PyArrow and rouge_score
    from flows import dag
    from flows.adapter_lookup import find_adapter
    from flows.cli.terminal import Terminal
    from flows.planner import Planner

    resolved, planner = dag.resolve_recipe(loaded), Planner(stages)
    if adapter is None:
        dag.retrain(resolved, planner.step)
    else:
        manifest = find_adapter(adapter, resolved.model)
        dag.evaluate(resolved.for_adapter(manifest), planner.step, manifest)
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
    require: Annotated[
        list[str] | None,
        typer.Option(
            "--require",
            metavar="CONDITION",
            help="Exit with code 3 unless this holds, as 'rouge1 >= before - 0.5' or 'at_limit <= 5 %'; repeatable.",
        ),
    ] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="FILE.xml", help="Write the conditions as JUnit test cases.")
    ] = None,
    overrides: Overrides = None,
    refresh: Refresh = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Evaluate an adapter, for example with a different prompt. Trains nothing."""
    conditions = parse_conditions(require, junit)
    parameters = prepare_run(recipe, with_prompt(overrides, prompt), refresh, debug)
    from flows.pipeline import evaluate

    summary = execute(evaluate, parameters | {"adapter": adapter}, as_json, conditions)
    results = summary.conditions or []
    if junit is not None:
        from flows.conditions import write_junit

        write_junit(results, summary.artifact_of("score"), junit)
    if unmet := [result for result in results if not result.met]:
        first = f"{unmet[0].condition}: {unmet[0].reason}"
        raise UnmetConditionError(f"{len(unmet)} of {len(results)} conditions not met: {first}")


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
    parameters = prepare_run(recipe, overrides, refresh, debug)
    from flows.pipeline import promote

    summary = execute(promote, parameters | {"adapter": adapter}, as_json)
    if not as_json:
        from flows.cli.comparison import compare
        from flows.cli.terminal import stdout_console

        compare(summary.artifact_of("score"), stdout_console())


@commands.command()
def rollback(
    recipe: RecipeName = "quickstart", overrides: Overrides = None, as_json: AsJson = False, debug: Debug = False
) -> None:
    """Restore the previous champion. Retraining does not promote the current one again."""
    base = base_revision(recipe, overrides)
    from artifacts.artifact_store import Store
    from artifacts.champions import Champions
    from flows.recipe import load_recipe

    champions = Champions(Store.current(), base)
    if len(champions.stack) > 1:
        previous, current = (champion.adapter for champion, _ in champions.stack[-2:])
        if not Store.current().manifests("train", {previous}):
            raise RequestError(
                f"{previous}, the champion before {current}, was removed from the store (by `gc --champions`, or by "
                "hand): promote another adapter with `dialogsum promote --adapter ID`"
            )
    champion = champions.roll_back(run="by hand")
    withdrawn = champions.stack[-1][0].adapter
    if trackers := load_recipe(recipe, overrides or []).track:
        from flows.integrations.tracking import tracking

        with tracking(trackers, lambda line: print(line, file=sys.stderr)):
            pass  # its processes send the champions that have changed
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
    base = base_revision(recipe, overrides)
    from flows.cli.history import show_history

    show_history(base, as_json, plot)

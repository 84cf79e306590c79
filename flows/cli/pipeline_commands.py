"""run, plan, evaluate, promote, rollback, history: the pipeline and what came of it."""

import json
import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from artifacts.errors import RequestError, nearest, one_line
from flows.cli.options import AsJson, Debug, Overrides, RecipeName, Refresh, adapters, prompts, stage_names

running = typer.Typer()
AdapterName = Annotated[
    str,
    typer.Option(
        "--adapter", metavar="ID|champion|latest|none", help="Which adapter to evaluate.", autocompletion=adapters
    ),
]
PromptName = Annotated[
    str | None,
    typer.Option("--prompt", metavar="NAME|FILE", help="Prompt at generation.", autocompletion=prompts),
]


@running.command()
def run(
    recipe: RecipeName = "quickstart",
    overrides: Overrides = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", metavar="K", min=1, help="Train with K seeds and report the spread.")
    ] = None,
    refresh: Refresh = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Retrain: data, prompts, adapter, summaries, scores, report. What has not changed is reused."""
    overrides = [*(overrides or []), *([f"seeds={seeds}"] if seeds is not None else [])]
    _execute("retrain", recipe, overrides, refresh, as_json, debug)


@running.command()
def plan(
    recipe: RecipeName = "quickstart",
    adapter: Annotated[
        str | None,
        typer.Option(
            "--adapter",
            metavar="ID|champion|latest|none",
            help="Plan `evaluate` instead of `run`.",
            autocompletion=adapters,
        ),
    ] = None,
    prompt: PromptName = None,
    overrides: Overrides = None,
    refresh: Refresh = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say for each stage whether it would run or be reused, and why. Runs nothing."""
    from flows.recipe import load_recipe

    loaded = load_recipe(recipe, _with_prompt(overrides, prompt))
    planner_refresh = frozenset(_stage_names(refresh))
    from flows import dag  # pandas and rouge_score take a second
    from flows.adapter_lookup import find_adapter
    from flows.cli.terminal import Terminal
    from flows.planner import Planner

    setup, planner = dag.set_up(loaded), Planner(planner_refresh)
    if adapter is None:
        dag.retrain(setup, planner.step)
    else:
        dag.evaluate(setup, planner.step, find_adapter(adapter, setup.model))
    if as_json:
        print(json.dumps({"recipe": loaded.name, "stages": planner.stages}, ensure_ascii=False))
    else:
        Terminal().stages(planner.stages)


@running.command()
def evaluate(
    recipe: RecipeName = "quickstart",
    adapter: AdapterName = "latest",
    prompt: PromptName = None,
    overrides: Overrides = None,
    refresh: Refresh = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Evaluate an adapter, such as under another prompt. Trains nothing."""
    _execute("evaluate", recipe, _with_prompt(overrides, prompt), refresh, as_json, debug, adapter=adapter)


@running.command()
def promote(
    recipe: RecipeName = "quickstart",
    adapter: Annotated[
        str, typer.Option("--adapter", metavar="ID|latest", help="The candidate.", autocompletion=adapters)
    ] = "latest",
    overrides: Overrides = None,
    refresh: Refresh = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Make an adapter champion if it passes the gate. Compares it with base model and champion."""
    summary = _execute("promote", recipe, overrides, refresh, as_json, debug, adapter=adapter)
    if not as_json:
        from flows.cli.comparison import compare
        from flows.cli.terminal import Terminal

        scores = next(e for e in summary["stages"] if e["stage"] == "score")
        compare(scores["artifact"], Terminal().answers)


@running.command()
def rollback(
    recipe: RecipeName = "quickstart", overrides: Overrides = None, as_json: AsJson = False, debug: Debug = False
) -> None:
    """Restore the previous champion. Retraining does not bring the present one back."""
    base = _base(recipe, overrides)
    from artifacts.champions import Champions

    champions = Champions(base)
    before = champions.roll_back(run="by hand")
    withdrawn = champions.stack[-1][0].adapter
    if as_json:
        print(json.dumps({"champion": before.adapter if before else None, "withdrawn": withdrawn}))
        return
    given = [
        *([] if recipe == "quickstart" else [recipe]),
        *(word for each in overrides or [] for word in ("--set", each)),
    ]
    undo = shlex.join(["dialogsum", "promote", *given, "--adapter", withdrawn])
    now = f"{before.adapter} is champion again" if before else "there is none now"
    print(f"{withdrawn} is no longer champion; {now}. Undo: {undo}")


@running.command()
def history(
    recipe: RecipeName = "quickstart",
    overrides: Overrides = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE.svg", help="Draw it as well.")] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show every evaluation of a base model, and who became champion."""
    base = _base(recipe, overrides)
    from flows import evaluation_history as told

    told.history(base, as_json, plot)


def _execute(
    flow: str,
    recipe: str,
    overrides: list[str] | None,
    refresh: list[str] | None,
    as_json: bool,
    debug: bool,
    **more: str,
) -> dict[str, Any]:
    from artifacts.artifact_store import Store
    from flows.recipe import load_recipe

    load_recipe(recipe, overrides or [])  # refuse a wrong request before the heavy imports
    names = _stage_names(refresh)
    Store.current().check_writable()  # before a Prefect server starts for nothing
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    # Prefect's own 20 s are too few on a busy machine
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "INFO" if debug else "CRITICAL")
    # a station takes a run for dead after five minutes without one (flows/station/provisioning.py); Prefect's own pace is 180 s
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")
    from flows import pipeline
    from flows.cli.terminal import Terminal
    from flows.station.server_check import answering, check_server, find_reports
    from tasks.prefect_task import terminal

    check_server()
    find_reports()
    listener = Terminal()
    terminal.set(listener)
    with answering():
        summary = getattr(pipeline, flow)(recipe=recipe, overrides=overrides or [], refresh=names, **more)
    if as_json:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        from flows.labels import labels_of

        scores = next(e["artifact"] for e in summary["stages"] if (e["stage"], e["of"]) == ("score", None))
        listener.scores(summary, labels_of(Store.current().by_id(scores)))
    return summary  # type: ignore[no-any-return]


def _base(recipe: str, overrides: list[str] | None) -> str:
    """Revision of the recipe's base model."""
    from flows.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or [])
    from tasks.sources.resolve import resolve_model

    return resolve_model(loaded.model).revision


def _with_prompt(overrides: list[str] | None, prompt: str | None) -> list[str]:
    """The overrides, and `--prompt` as one of them. RequestError that names --prompt if there is no such prompt."""
    if prompt:
        from flows.recipe import PROMPTS
        from tasks.models.prompt_template import load_prompt

        load_prompt(prompt, PROMPTS, "--prompt")
    return [*(overrides or []), *([f"evaluation.prompt={json.dumps(prompt)}"] if prompt else [])]


def _stage_names(refresh: list[str] | None) -> list[str]:
    for name in refresh or []:
        if name not in stage_names():
            raise RequestError(f"--refresh: no stage {one_line(name, 60)!r}{nearest(name, stage_names())}")
    return refresh or []

"""The command line. Logs and progress go to standard error, answers to standard output.

Exit 0 done, 1 a stage failed, 2 the request was wrong, 130 or 143 interrupted; an error is one line. Heavy imports wait until a command needs
them: a misspelt key is refused before Prefect or torch is touched.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from artifacts.errors import RequestError, StageError, nearest, one_line
from artifacts.store import Store
from flows.benchmarks.commands import bench
from flows.recipe import load_recipe
from flows.station import station

STAGE_NAMES = ("download", "format", "train", "generate", "score", "promote", "report")

app = typer.Typer(
    help="Fine-tune a small language model to summarize dialogues, and know whether it got better.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(bench, name="bench")
app.add_typer(station, name="station")

RecipeName = Annotated[str, typer.Argument(help="A name in flows/recipes, or a file.", show_default=True)]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="section.key=value", help="Overrule the recipe.")]
Refresh = Annotated[
    list[str] | None, typer.Option("--refresh", metavar="STAGE", help="Run a stage again although nothing changed.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error and Prefect's own log.")]
AdapterName = Annotated[
    str, typer.Option("--adapter", metavar="ID|champion|latest|none", help="Which adapter to evaluate.")
]
PromptName = Annotated[str | None, typer.Option("--prompt", metavar="NAME|FILE", help="Prompt at generation.")]


@app.command()
def run(
    recipe: RecipeName = "quickstart",
    overrides: Overrides = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", metavar="K", help="Train K seeds and report the spread.")
    ] = None,
    refresh: Refresh = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Retrain: data, prompts, adapter, summaries, scores, report. What has not changed is reused."""
    overrides = [*(overrides or []), *([f"seeds={seeds}"] if seeds is not None else [])]
    _execute("retrain", recipe, overrides, refresh, as_json, debug)


@app.command()
def evaluate(
    recipe: RecipeName = "quickstart",
    adapter: AdapterName = "latest",
    prompt: PromptName = None,
    overrides: Overrides = None,
    refresh: Refresh = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Evaluate an adapter that is there, such as under another prompt. Trains nothing."""
    _execute("evaluate", recipe, _with_prompt(overrides, prompt), refresh, as_json, debug, adapter=adapter)


@app.command()
def promote(
    recipe: RecipeName = "quickstart",
    adapter: Annotated[str, typer.Option("--adapter", metavar="ID|latest", help="The candidate.")] = "latest",
    overrides: Overrides = None,
    refresh: Refresh = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare an adapter with base model and champion; make it champion if the gate passes."""
    summary = _execute("promote", recipe, overrides, refresh, as_json, debug, adapter=adapter)
    if not as_json:
        from flows.comparing import compare
        from flows.terminal import Terminal

        scores = next(e for e in summary["stages"] if e["stage"] == "score")
        compare(scores["artifact"], Terminal().answers)


@app.command()
def rollback(
    recipe: RecipeName = "quickstart", overrides: Overrides = None, as_json: AsJson = False, debug: Debug = False
) -> None:
    """Put the champion before the present one in force again; retraining does not bring the present one back."""
    base = _base(recipe, overrides)
    from artifacts.champions import Champions

    champions = Champions(base)
    before = champions.roll_back(run="by hand")
    found = {"champion": before.adapter if before else None, "withdrawn": champions.stack[-1][0].adapter}
    print(json.dumps(found) if as_json else f"champion: {found['champion'] or 'nobody'} (was {found['withdrawn']})")


@app.command()
def history(
    recipe: RecipeName = "quickstart",
    overrides: Overrides = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE.svg", help="Draw it as well.")] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show how candidates and champion of the recipe's base model have moved over the evaluations."""
    base = _base(recipe, overrides)
    from flows import history as told

    told.history(base, as_json, plot)


@app.command()
def results(
    scores: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Score artifacts; all unless given.")
    ] = None,
    readme: Annotated[
        Path | None, typer.Option("--readme", metavar="FILE", help="Put the table between the marks in this file.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Print the table of results as Markdown, from score artifacts alone."""
    from flows import results as told

    table = told.results(scores or [])
    if readme is None:
        print(table)
    else:
        told.write(readme, table)


@app.command()
def plan(
    recipe: RecipeName = "quickstart",
    adapter: Annotated[
        str | None,
        typer.Option("--adapter", metavar="ID|champion|latest|none", help="Plan `evaluate` instead of `run`."),
    ] = None,
    prompt: PromptName = None,
    overrides: Overrides = None,
    refresh: Refresh = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Say for each stage whether it would run or be reused, and why. Runs nothing."""
    loaded = load_recipe(recipe, _with_prompt(overrides, prompt))
    planner_refresh = frozenset(_stage_names(refresh))
    from flows import graph  # pandas and rouge_score take a second
    from flows.adapters import find_adapter
    from flows.planning import Planner
    from flows.terminal import Terminal

    setup, planner = graph.set_up(loaded), Planner(planner_refresh)
    if adapter is None:
        graph.retrain(setup, planner.step)
    else:
        graph.evaluate(setup, planner.step, find_adapter(adapter, setup.model))
    if as_json:
        print(json.dumps({"recipe": loaded.name, "stages": planner.stages}, ensure_ascii=False))
    else:
        Terminal().stages(planner.stages)


@app.command()
def show(
    artifact: Annotated[str | None, typer.Argument(metavar="[ID]", help="An artifact, such as train-1a2b3c4d.")] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the artifacts, or one with its lineage, and verify it."""
    from flows import showing

    showing.show(artifact, as_json)


@app.command()
def gc(
    days: Annotated[float, typer.Option("--days", metavar="N", help="Keep what was made or used within N days.")] = 30,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; otherwise it is only listed.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List what no champion, pin or recent run needs, nor anything made from it, with sizes; with --delete remove it."""
    from flows import housekeeping

    housekeeping.gc(days, delete, as_json)


@app.command("store")
def statistics(as_json: AsJson = False, debug: Debug = False) -> None:
    """Show how much each stage has in the store, since when, and which artifacts are champions or pinned."""
    from flows import housekeeping

    housekeeping.statistics(as_json)


@app.command()
def pin(artifact: Annotated[str, typer.Argument(metavar="ID")], debug: Debug = False) -> None:
    """Keep an artifact, and all it was made from, whatever its age."""
    from artifacts import needs

    needs.pin(artifact)
    print(f"{artifact} is pinned")


@app.command()
def unpin(artifact: Annotated[str, typer.Argument(metavar="ID")], debug: Debug = False) -> None:
    """Let a pinned artifact age like any other."""
    from artifacts import needs

    needs.unpin(artifact)
    print(f"{artifact} is no longer pinned")


@app.command()
def doctor(
    recipe: RecipeName = "quickstart", overrides: Overrides = None, as_json: AsJson = False, debug: Debug = False
) -> None:
    """Check before a run: versions, GPU, memory, store, hub, licence, data, and the rows as the trainer would get them."""
    loaded = load_recipe(recipe, overrides or [])
    from flows import checkup

    checkup.doctor(loaded, as_json)


def _execute(
    flow: str,
    recipe: str,
    overrides: list[str] | None,
    refresh: list[str] | None,
    as_json: bool,
    debug: bool,
    **more: str,
) -> dict[str, Any]:
    load_recipe(recipe, overrides or [])  # refuse a wrong request before the heavy imports
    names = _stage_names(refresh)
    Store.current().check_writable()  # before a Prefect server starts for nothing
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    # Prefect's 20 s are not enough on a busy machine
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "INFO" if debug else "CRITICAL")
    from flows import pipeline
    from flows.server import answering, check_server
    from flows.terminal import Terminal
    from tasks.shell import terminal

    check_server()
    listener = Terminal()
    terminal.set(listener)
    with answering():
        summary = getattr(pipeline, flow)(recipe=recipe, overrides=overrides or [], refresh=names, **more)
    if as_json:
        print(json.dumps(summary, ensure_ascii=False))
    else:
        listener.scores(summary)
    return summary  # type: ignore[no-any-return]


def _base(recipe: str, overrides: list[str] | None) -> str:
    """Revision of the recipe's base model."""
    loaded = load_recipe(recipe, overrides or [])
    from tasks.sources import resolve_model

    return resolve_model(loaded.model).revision


def _with_prompt(overrides: list[str] | None, prompt: str | None) -> list[str]:
    return [*(overrides or []), *([f"evaluation.prompt={json.dumps(prompt)}"] if prompt else [])]


def _stage_names(refresh: list[str] | None) -> list[str]:
    for name in refresh or []:
        if name not in STAGE_NAMES:
            raise RequestError(f"--refresh: no stage {one_line(name, 60)!r}{nearest(name, STAGE_NAMES)}")
    return refresh or []


class TerminatedError(BaseException):
    """SIGTERM: everything is left in order, as after Ctrl-C, the Prefect server of this process included."""


def _terminate(*_: object) -> NoReturn:
    raise TerminatedError


def main() -> NoReturn:
    """Run the command line; every error becomes one line and an exit code."""
    command: Any = typer.main.get_command(app)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        command.main(sys.argv[1:] or ["--help"], standalone_mode=False, prog_name="dialogsum")
    except (RequestError, StageError) as error:
        _fail(str(error), error.exit_code, error)
    except (KeyboardInterrupt, TerminatedError) as stop:
        code = 130 if isinstance(stop, KeyboardInterrupt) else 143
        _fail("interrupted; finished stages are kept, run the same command to go on", code)
    except Exception as error:
        if hasattr(error, "exit_code") and hasattr(error, "format_message"):  # click's own, of Typer's copy or another
            _fail(_usage(error, command), 2)
        _fail(f"{type(error).__name__}: {error} (run again with --debug for the traceback)", 1, error)
    sys.exit(0)


def _usage(error: Any, command: Any) -> str:
    message = str(error.format_message()).rstrip(".")
    wrong = message.split("'")[1] if message.startswith("No such command") else ""
    return f"no command {wrong!r}{nearest(wrong, command.commands)}" if wrong else f"{message}; see `dialogsum --help`"


def _fail(message: str, code: int, error: BaseException | None = None) -> NoReturn:
    if "--debug" in sys.argv and error is not None:
        import traceback

        traceback.print_exception(error)
    print(f"dialogsum: {one_line(message, 600)}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()

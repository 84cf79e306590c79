"""The Prefect flow `sweep`: tries values of a recipe's keys, compares them on the validation split, names the best."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed
from pydantic import Field

from artifacts.artifact_store import Store
from artifacts.errors import StageError
from flows import run_names
from flows.failures import fails_in_one_line
from flows.integrations.tracking import tracking
from flows.pipeline import Override, RecipeName, resolve
from flows.run_pages import markdown_table
from flows.runner import PipelineRun
from flows.secrets_in_text import NO_SECRET
from flows.sweeps import result_text
from flows.sweeps.durations import parse_duration
from flows.sweeps.result_files import checked_folder, winner_recipe, write_files
from flows.sweeps.results import SweepResult, sweep_result
from flows.sweeps.setup import SweepRequest, SweepSetup
from flows.sweeps.sweep_loop import SweepLoop
from flows.sweeps.trials import TrialStore
from tasks.prefect_task import current_listener, publish_pages
from tasks.reporting.escaping import escape_markdown

Over = Annotated[
    str,
    Field(
        json_schema_extra={"pattern": NO_SECRET + r"[a-z_]+(\.[a-z_]+)*=.+", "examples": ["train.lora.rank=32,64,128"]}
    ),
]


@flow(name="sweep", flow_run_name=run_names.kept_or(run_names.of_sweep), persist_result=False)
@fails_in_one_line
def sweep(
    recipe: RecipeName = "quickstart",
    over: Annotated[list[Over], Field(min_length=1)] = [],  # noqa: B006  # never written to
    trials: Annotated[int, Field(ge=0, le=1000)] = 0,
    sampler: Literal["tpe", "random"] = "tpe",
    budget: Annotated[str, Field(examples=["2h", "90m"])] = "",
    prune: bool = True,
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0,
    retry_failed: bool = False,
    overrides: list[Override] = [],  # noqa: B006
    out: str = "",
) -> Any:
    """Train with several values of a recipe's keys, and compare them on the validation split. Start it again to resume.

    Args:
        recipe: Recipe to vary (a file in flows/recipes). It is the first trial, as it is.
        over: Keys and the values to try, each `section.key=value,value`; with `trials` also ranges, `section.key=1..9`.
        trials: How many to try; 0 tries every combination of the values.
        sampler: Which combinations to try, if `trials` is set: `tpe` learns from the trials so far.
        budget: Start no trial that would exceed this time of all trials together, such as `2h`; empty: no limit.
        prune: End trainings early whose validation loss is above the median of the others.
        seed: Seed of the sampler.
        retry_failed: Run trials again that failed earlier.
        overrides: Settings that override the recipe in all trials, each `section.key=value`.
        out: Folder on the worker's machine for the plot and the recipe of the best trial; empty writes no files.
    """
    folder = checked_folder(out) if out else None
    request = SweepRequest(
        recipe=recipe,
        over=tuple(over),
        trials=trials,
        sampler=sampler if trials else "grid",
        seed=seed,
        budget=parse_duration(budget) if budget else None,
        prune=prune,
        retry_failed=retry_failed,
    )
    setup = SweepSetup(request, resolve(recipe, overrides))
    return _run(setup, folder)


def _run(setup: SweepSetup, folder: Path | None) -> Any:
    """Run what is left of a sweep, and publish its result. StageError if trials failed, or none is complete."""
    run = PipelineRun(setup.base, [])
    run.more_walks = True
    loop = SweepLoop(setup, run, _say)
    with run.standby, tracking(setup.base.recipe.track, get_run_logger().warning):
        stop = loop.run_trials()
    stopped = stop.reason if stop else ""
    result = sweep_result(setup, TrialStore(Store.current(), setup.id).trials())
    files = write_files(setup, result, folder) if folder else {}
    named = {name for each in result.trials for name in (each.trial.adapter, each.trial.scores) if name}
    known = publish_pages([*run.artifacts.values(), *Store.current().manifests(ids=named)])
    message = result_text.sentence(result)
    about = f"{setup.base.recipe.name}: sweep {setup.id} over {', '.join(setup.space.keys)}"
    create_markdown_artifact(sweep_page(setup, result, stopped, known), key="sweep", description=about)
    if stop and stop.failed:
        again = "the same command goes on with the next trial; --retry-failed runs the failed ones again"
        raise StageError(f"sweep {setup.id}: {stopped}; {again}")
    if result.best is None:
        raise StageError(f"sweep {setup.id}: {stopped or message}")
    run.notes.finish()
    return Completed(message=message, data=result_text.summarize(setup, result, stopped, files))


def _say(line: str) -> None:
    get_run_logger().info(line)
    current_listener.get().log(line)


def sweep_page(setup: SweepSetup, result: SweepResult, stopped: str, known: set[str]) -> str:
    """The result as Markdown for the Prefect UI: sentence, table, recipe of the best trial."""
    lines = [escape_markdown(result_text.sentence(result)), ""]
    if result.trials:
        lines += [markdown_table(result_text.table(result), known), ""]
    lines += [f"- {escape_markdown(remark)}" for remark in result_text.remarks(setup, result, stopped)]
    if recipe := winner_recipe(setup, result):
        fence = "`" * max(3, *(len(ticks) + 1 for ticks in re.findall("`+", recipe)), 3)
        lines += ["", "## Recipe of the best trial", "", f"{fence}yaml", recipe.rstrip(), fence]
    return "\n".join([*lines, ""])

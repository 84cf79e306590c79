"""Runs `sweep` and prints its result; prints the plan of one."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.markup import escape

from artifacts.artifact_store import Store
from flows import dag
from flows.cli.flow_execution import run_flow
from flows.cli.terminal import Terminal
from flows.labels import Overrides
from flows.prefect_environment import configure_prefect
from flows.recipe import load_recipe
from flows.sweeps.durations import parse_duration
from flows.sweeps.optuna_study import OptunaStudy
from flows.sweeps.result_files import checked_folder
from flows.sweeps.setup import SweepRequest, SweepSetup
from flows.sweeps.space import parse_space
from flows.sweeps.sweep_plan import plan_sweep


def prepare_sweep(parameters: Mapping[str, Any], debug: bool) -> None:
    """Raise the request's errors before Prefect is imported and a server is started."""
    load_recipe(parameters["recipe"], parameters["overrides"])
    sampled = parameters["trials"] > 0
    space = parse_space(parameters["recipe"], parameters["overrides"], parameters["over"], sampled)
    if parameters["budget"]:
        parse_duration(parameters["budget"])
    checked_folder(parameters["out"])
    if sampled or parameters["prune"]:
        OptunaStudy(space, parameters["sampler"] if sampled else "grid", parameters["seed"])
    Store.current().check_writable()
    configure_prefect(debug)


def run_sweep(parameters: dict[str, Any], as_json: bool) -> None:
    """Run the flow in this process and print its table, or the summary as JSON."""
    from flows.sweeps.sweep_flow import sweep

    listener = Terminal()
    summary = run_flow(sweep, parameters, listener)
    if as_json:
        print(json.dumps(summary.to_json(), ensure_ascii=False))
        return
    listener.table(summary.table, summary.sentence)
    for line in [*summary.remarks, *(f"{kind}: {path}" for kind, path in summary.files.items())]:
        listener.output.print(escape(line), soft_wrap=True)


def print_plan(
    recipe: str, overrides: Sequence[str], over: Sequence[str], trials: int, sampler: str, seed: int, as_json: bool
) -> None:
    """Print the trials of a sweep that are known before it runs, and what it would take."""
    request = SweepRequest.model_validate(
        {"recipe": recipe, "over": over, "trials": trials, "sampler": sampler if trials else "grid", "seed": seed}
    )
    base = dag.resolve_recipe(load_recipe(recipe, overrides), Overrides(own=tuple(overrides)))
    plan = plan_sweep(SweepSetup(request, base))
    if as_json:
        print(json.dumps(plan.to_json(), ensure_ascii=False))
    else:
        Terminal().table(plan.rows(), plan.sentence())

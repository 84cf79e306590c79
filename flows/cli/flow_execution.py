"""What the commands of the pipeline share: their requests are checked, then a flow runs in this process."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from artifacts.errors import RequestError
from artifacts.text import did_you_mean, one_line
from flows.cli.options import stage_names

if TYPE_CHECKING:
    from flows.conditions import Condition
    from flows.run_summary import RunSummary
    from tasks.execution.listener import Listener


def prepare_run(recipe: str, overrides: list[str] | None, refresh: list[str] | None, debug: bool) -> dict[str, Any]:
    """Parameters of a flow. Raises the request's errors before Prefect is imported and a server is started."""
    from artifacts.artifact_store import Store
    from flows.integrations.tracker import find_tracker
    from flows.prefect_environment import configure_prefect
    from flows.recipe import load_recipe

    for tracker in load_recipe(recipe, overrides or []).track:
        find_tracker(tracker)
    stages = checked_stages(refresh)
    Store.current().check_writable()
    configure_prefect(debug)
    return {"recipe": recipe, "overrides": overrides or [], "refresh": stages}


def parse_conditions(require: list[str] | None, junit: Path | None) -> "list[Condition]":
    """The conditions. RequestError before anything runs if one is wrong, or if the JUnit file has no use or folder."""
    from flows.conditions import parse_condition

    if junit is not None and not require:
        raise RequestError("--junit writes the conditions of --require: add --require CONDITION")
    if junit is not None and not junit.absolute().parent.is_dir():
        raise RequestError(
            f"--junit {one_line(junit, 120)}: there is no folder {one_line(junit.absolute().parent, 120)}"
        )
    return [parse_condition(text) for text in require or []]


def execute(
    flow: Callable[..., Any], parameters: dict[str, Any], as_json: bool, conditions: "Sequence[Condition]" = ()
) -> "RunSummary":
    """Run a flow in this process, check the conditions, and print the scores, or the summary as JSON."""
    from artifacts.artifact_store import Store
    from flows.cli.terminal import Terminal

    listener = Terminal()
    summary: RunSummary = run_flow(flow, parameters, listener)
    store = Store.current()
    scores = store.by_id(summary.artifact_of("score"))
    if conditions:
        from flows.conditions import check_conditions
        from tasks.metrics.scores import Scores

        results = check_conditions(conditions, Scores.load(store.payload(scores.path)))
        summary = summary.model_copy(update={"conditions": results})
    if as_json:
        print(json.dumps(summary.to_json(), ensure_ascii=False))
    else:
        from flows.labels import labels_of
        from tasks.data.change_records import DataComparison

        data = DataComparison.of_report(store.by_id(summary.artifact_of("report")).facts)
        listener.scores(summary, labels_of(scores), data.sentence if data else "")
    return summary


def run_flow(flow: Callable[..., Any], parameters: dict[str, Any], listener: "Listener") -> Any:
    """Run a flow in this process and return its result. `listener` gets the events of its stages."""
    from flows.station.server_check import answering, check_server, find_reports
    from tasks.prefect_task import listening

    check_server()
    find_reports()
    with answering(), listening(listener):
        return flow(**parameters)


def base_revision(recipe: str, overrides: list[str] | None) -> str:
    """Revision of the recipe's base model."""
    from flows.recipe import load_recipe

    loaded = load_recipe(recipe, overrides or [])
    from tasks.sources.resolve import resolve_model

    return resolve_model(loaded.model).revision


def with_prompt(overrides: list[str] | None, prompt: str | None) -> list[str]:
    """The overrides, with `--prompt` as one of them. RequestError that names --prompt if there is no such prompt."""
    if prompt:
        from flows.recipe import PROMPTS
        from tasks.models.prompt_template import load_prompt

        load_prompt(prompt, PROMPTS, "--prompt")
    return [*(overrides or []), *([f"evaluation.prompt={json.dumps(prompt)}"] if prompt else [])]


def checked_stages(refresh: list[str] | None) -> list[str]:
    """The stages to rerun. RequestError if one does not exist."""
    for name in refresh or []:
        if name not in stage_names():
            raise RequestError(f"--refresh: no stage {one_line(name, 60)!r}{did_you_mean(name, stage_names())}")
    return refresh or []

"""The Prefect flows retrain, evaluate and promote, with the types of their forms."""

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.variables import Variable
from pydantic import Field

from artifacts.errors import RequestError
from flows import dag, run_names
from flows.adapter_lookup import find_adapter
from flows.dag import ResolvedRecipe
from flows.failures import fails_in_one_line
from flows.labels import overrides_of, prompt_label
from flows.recipe import OVERRIDES, PROMPTS, RECIPES, load_recipe
from flows.runner import PipelineRun
from flows.secrets_in_text import NO_SECRET
from tasks.gpu_lease import is_deployment_run
from tasks.models.prompt_template import load_prompt
from tasks.registry import STAGES
from tasks.reporting.system_names import quoted


def _listed(names: Iterable[str]) -> Any:
    """A field whose form in the UI offers these names and refuses others; the command line also takes files."""
    return Field(json_schema_extra={"enum": [*sorted(names)]})


RECIPE_NAMES = sorted(file.stem for file in RECIPES.glob("*.yaml"))
RecipeName = Annotated[str, _listed(RECIPE_NAMES)]
StageName = Annotated[str, _listed(STAGES.keys() - {"review"})]
"""The stages of a run; a review is made from the votes of people."""
Override = Annotated[
    str, Field(json_schema_extra={"pattern": NO_SECRET + r"[a-z_]+(\.[a-z_]+)*=", "examples": ["train.epochs=3"]})
]
ADAPTER_PATTERN = r"^(latest|champion|none|train-[0-9a-f]{8})$"
CANDIDATE_PATTERN = r"^(latest|train-[0-9a-f]{8})$"


def resolve(recipe: str, overrides: list[str]) -> ResolvedRecipe:
    """Load and resolve a recipe; in a deployment, the overrides of the Prefect variable come before the run's own."""
    station: Any = Variable.get(OVERRIDES, []) if is_deployment_run() else []
    if not isinstance(station, list) or not all(isinstance(override, str) for override in station):
        raise RequestError(f'the Prefect variable {OVERRIDES} must be a list such as ["train.epochs=3"]')
    if station:
        load_recipe(recipe)
        try:
            load_recipe(recipe, station)
        except RequestError as error:
            raise RequestError(f"in the Prefect variable {OVERRIDES}: {str(error).removeprefix('--set ')}") from error
        get_run_logger().info("overrides from the Prefect variable %s: %s", OVERRIDES, ", ".join(station))
    loaded, without_overrides = load_recipe(recipe, [*station, *overrides]), None
    with suppress(RequestError):  # a recipe that lacks what the overrides add
        without_overrides = load_recipe(recipe)
    return dag.resolve_recipe(loaded, overrides_of(without_overrides, loaded, station, overrides))


def _recipe_and_overrides(resolved: ResolvedRecipe) -> str:
    """Recipe and overrides, for the name of the run."""
    return ", ".join(filter(None, [resolved.recipe.name, resolved.overrides.in_short(80)]))


@flow(name="retrain", flow_run_name=run_names.kept_or(run_names.of_retrain), persist_result=False)
@fails_in_one_line
def retrain(
    recipe: RecipeName = "quickstart",
    overrides: list[Override] = [],  # noqa: B006  # never written to
    refresh: list[StageName] = [],  # noqa: B006
) -> Any:
    """Run the whole pipeline of a recipe and report whether the new model is better. Unchanged stages are reused.

    Args:
        recipe: Recipe to run (a file in flows/recipes).
        overrides: Settings that override the recipe, each `section.key=value`, such as `data.source=/data/dialogsum`.
        refresh: Stages to rerun even if nothing changed.
    """
    resolved = resolve(recipe, overrides)
    run_names.rename(f"retrain {_recipe_and_overrides(resolved)}", recipe)
    return PipelineRun(resolved, refresh).execute(dag.retrain, may_promote=resolved.recipe.gate.automatic)


@flow(name="evaluate", flow_run_name=run_names.kept_or(run_names.of_evaluate), persist_result=False)
@fails_in_one_line
def evaluate(
    recipe: RecipeName = "quickstart",
    adapter: Annotated[str, Field(json_schema_extra={"pattern": ADAPTER_PATTERN})] = "latest",
    prompt: Annotated[
        str, Field(examples=sorted(f.stem for f in PROMPTS.glob("*.txt")), json_schema_extra={"pattern": NO_SECRET})
    ] = "",
    overrides: list[Override] = [],  # noqa: B006
    refresh: list[StageName] = [],  # noqa: B006
) -> Any:
    """Evaluate an existing adapter with another prompt or other decoding settings. Trains nothing.

    Args:
        recipe: Recipe whose data, base model and decoding to use (a file in flows/recipes).
        adapter: Artifact id, `champion`, `latest`, or `none` for the base model alone.
        prompt: Name of a file in flows/prompts, or the text with `{dialogue}` in it; default: the recipe's prompt.
        overrides: Settings that override the recipe, each `section.key=value`, such as `generate.max_new_tokens=64`.
        refresh: Stages to rerun even if nothing changed.
    """
    if prompt:
        load_prompt(prompt, PROMPTS, "prompt")
    resolved = resolve(recipe, [*overrides, *([f"evaluation.prompt={json.dumps(prompt)}"] if prompt else [])])
    manifest = find_adapter(adapter, resolved.model)
    resolved = resolved.for_adapter(manifest)
    subject = (
        f"{manifest.id if manifest else 'base model'} with prompt {quoted(prompt_label(resolved.evaluation_prompt))}"
    )
    run_names.rename(f"evaluate {subject} ({_recipe_and_overrides(resolved)})", recipe)
    return PipelineRun(resolved, refresh).execute(
        lambda resolved, step: dag.evaluate(resolved, step, manifest), may_promote=False
    )


@flow(name="promote", flow_run_name=run_names.kept_or(run_names.of_promote), persist_result=False)
@fails_in_one_line
def promote(
    recipe: RecipeName = "quickstart",
    adapter: Annotated[str, Field(json_schema_extra={"pattern": CANDIDATE_PATTERN})] = "latest",
    overrides: list[Override] = [],  # noqa: B006
    refresh: list[StageName] = [],  # noqa: B006
) -> Any:
    """Compare an existing adapter with the base model and the champion, and promote it if it passes the gate.

    Args:
        recipe: Recipe whose data, base model and gate to use (a file in flows/recipes).
        adapter: Artifact id, or `latest`.
        overrides: Settings that override the recipe, each `section.key=value`, such as `gate.probability=0.99`.
        refresh: Stages to rerun even if nothing changed.
    """
    resolved = resolve(recipe, overrides)
    manifest = find_adapter(adapter, resolved.model)
    if manifest is None:
        raise RequestError("`none` cannot be promoted: name an adapter, or `latest`")
    resolved = resolved.for_adapter(manifest)
    run_names.rename(f"promote {manifest.id} ({_recipe_and_overrides(resolved)})", recipe)
    return PipelineRun(resolved, refresh).execute(
        lambda resolved, step: dag.evaluate(resolved, step, manifest, gated=True), may_promote=True
    )

"""The flows: the graph with every step a cached Prefect task.

retrain    everything from the data to the decision and the report; moves the champion pointer
evaluate   an adapter that is there, or the base model alone
promote    an adapter that is there, past the gate
"""

import json
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Annotated, Any
from uuid import uuid4

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.variables import Variable
from pydantic import Field

from artifacts.artifact_path import artifact_id
from artifacts.artifact_store import Store
from artifacts.errors import RequestError, StageError
from artifacts.manifest import Manifest
from artifacts.record import Record
from artifacts.refs import Ref
from artifacts.retention import RunNotes
from flows import dag, publishing, run_names
from flows.adapter_lookup import find_adapter
from flows.dag import Outcome, Setup
from flows.failures import fails_in_one_line
from flows.gpu_pool import send
from flows.labels import overrides_of, prompt_label
from flows.planner import describe
from flows.recipe import OVERRIDES, PROMPTS, RECIPES, load_recipe
from tasks.execution.decision import decide
from tasks.execution.job import Job, save_job
from tasks.execution.stage import Stage
from tasks.gpu_lease import is_deployment_run
from tasks.models.prompt_template import load_prompt
from tasks.prefect_task import current_listener, run_stage
from tasks.registry import STAGES
from tasks.reporting.system_names import quoted
from tasks.server_outage import retry
from tasks.workers.standby import StandbyWorker

TRIES = 5
"""How often a decision is made again because another run changed the champion meanwhile."""


class Run:
    """Steps through the graph, each step a Prefect task, and keeps what there is to say about it."""

    def __init__(self, setup: Setup, refresh: list[str]) -> None:
        self.setup, self.refresh = setup, refresh
        self.id = str(flow_run.id or uuid4())
        self.stages: list[dict[str, Any]] = []
        self.artifacts: dict[str, Manifest] = {}
        self.uses = RunNotes(Store.current(), self.id)
        self.away = is_deployment_run()
        """Whether stages for a GPU are made by the GPU pool instead of here."""
        self.standby = StandbyWorker([stage.worker for stage in STAGES.values() if stage.worker])
        Store.current().check_writable()

    def step(self, stage: Stage, of: str | None, spec: Record, **given: Ref | Manifest) -> Ref:
        """Run one stage, or take its artifact from the store."""
        started = time.perf_counter()
        inputs = {role: ref if isinstance(ref, Ref) else Ref.of_manifest(ref) for role, ref in given.items()}
        decision = decide(Store.current(), stage, of, spec, inputs, stage.name in self.refresh)
        self.uses.add(artifact_id(decision.path), *(ref.id for ref in inputs.values()))
        label, recipe = " ".join(filter(None, [stage.name, of])), self.setup.recipe
        get_run_logger().info("%s: %s, %s", label, decision.status, decision.reason)
        listener = current_listener.get()
        listener.stage(label, decision.status, decision.reason)
        job = Job(
            stage=stage.name, variant=of, spec=spec, inputs=inputs, identity=decision.identity, run=self.id,
            recipe=f"{recipe.name} {recipe.revision}", origin=self._origin(stage),
            refresh=decision.status == "run" and stage.name in self.refresh, runtime=recipe.runtime,
        )  # fmt: skip
        sent = decision.status == "run" and stage.pool == "gpu" and self.away
        if decision.status == "run":
            save_job(Store.current(), job)
            if recipe.runtime.device != "cpu" and not self.away:
                self.standby.request(worker_follows(stage, of))
        if sent:
            send(job, decision.path)
            job = job.model_copy(update={"refresh": False})
        ref = run_stage(job)
        manifest = Store.current().verified(ref.path)
        entry = describe(decision, manifest)
        if decision.status == "run" and not sent and manifest.provenance.run != self.id:
            entry |= {"status": "reused", "reason": "another run made it meanwhile"}
        entry["seconds"] = round(time.perf_counter() - started, 3)
        self.stages.append(entry)
        self.artifacts[manifest.id] = manifest
        listener.finished(entry)
        return ref

    def _origin(self, stage: Stage) -> dict[str, str]:
        """What the manifest of an artifact notes for people, beside its recipe."""
        overrides, prompt = ", ".join(self.setup.overrides.effective), prompt_label(self.setup.evaluation_prompt)
        noted = {"overrides": overrides, "prompt": prompt if stage.name == "score" else ""}
        return {name: text for name, text in noted.items() if text}

    def through(self, walk: Callable[[Setup, Any], Outcome], moves: bool) -> Any:
        """Walk the graph and act on its decision. If the champion changes meanwhile, walk again: it is compared anew.

        Returns the state of the finished run: its message is the result in one line, its data what `run --json` prints.
        """
        for _ in range(TRIES):
            self.stages.clear()
            with self.standby:
                outcome = walk(self.setup, self.step)
            if self._settled(outcome, moves):
                told, message = publishing.tell(self.setup, self.stages, outcome, self.artifacts)
                self.uses.finish()
                return Completed(message=message, data=told)
            get_run_logger().warning("the champion changed meanwhile: comparing again")
            self.setup = dag.set_up(self.setup.recipe, self.setup.overrides)
        raise StageError(f"the champion changed {TRIES} times while this run compared with it: run again")

    def _settled(self, outcome: Outcome, moves: bool) -> bool:
        """Move the champion pointer if the gate says so; False if somebody else was first."""
        if outcome.decision is None or outcome.adapter is None or not moves:
            return True
        if not Store.current().by_id(outcome.decision.id).facts["passed"]:
            return True
        candidate = self.setup.candidate(outcome.adapter.id)
        if candidate == self.setup.champions.current:
            return True
        return self.setup.champions.promote(candidate, outcome.scores.id, self.id)


def worker_follows(stage: Stage, of: str | None) -> bool:
    """Whether a stage with a worker process comes after this one, be it the same stage for another model."""
    names = list(STAGES)
    later = names[names.index(stage.name) + 1 :]
    return any(STAGES[name].worker for name in later) or (stage.worker is not None and of == "base")


def _listed(names: Iterable[str]) -> Any:
    """The UI's form offers these names and refuses others; the command line takes files as well."""
    return Field(json_schema_extra={"enum": [*sorted(names)]})


RECIPE_NAMES = sorted(file.stem for file in RECIPES.glob("*.yaml"))
RecipeName = Annotated[str, _listed(RECIPE_NAMES)]
StageName = Annotated[str, _listed(STAGES)]
Override = Annotated[
    str, Field(json_schema_extra={"pattern": r"^[a-z_]+(\.[a-z_]+)*=", "examples": ["train.epochs=3"]})
]
ANY = r"^(latest|champion|none|train-[0-9a-f]{8})$"
CANDIDATE = r"^(latest|train-[0-9a-f]{8})$"


def _set_up(recipe: str, overrides: list[str]) -> Setup:
    """As a deployment, with what the station adds to every recipe before the run's own overrides."""
    station: Any = retry(Variable.get, OVERRIDES, []) if is_deployment_run() else []
    if not isinstance(station, list) or not all(isinstance(override, str) for override in station):
        raise RequestError(f'the Prefect variable {OVERRIDES} has to be a list such as ["train.epochs=3"]')
    if station:
        load_recipe(recipe)
        try:
            load_recipe(recipe, station)
        except RequestError as error:
            raise RequestError(f"in the Prefect variable {OVERRIDES}: {str(error).removeprefix('--set ')}") from error
        get_run_logger().info("overrides from the Prefect variable %s: %s", OVERRIDES, ", ".join(station))
    loaded, plain = load_recipe(recipe, [*station, *overrides]), None
    with suppress(RequestError):  # a recipe that lacks what the overrides add
        plain = load_recipe(recipe)
    return dag.set_up(loaded, overrides_of(plain, loaded, station, overrides))


def _described(setup: Setup) -> str:
    """The recipe of a run with what it was changed by, for the name of the run."""
    return ", ".join(filter(None, [setup.recipe.name, setup.overrides.in_short(80)]))


@flow(name="retrain", flow_run_name=run_names.kept_or(run_names.of_retrain), persist_result=False)
@fails_in_one_line
def retrain(recipe: RecipeName = "quickstart", overrides: list[Override] = [], refresh: list[StageName] = []) -> Any:  # noqa: B006  # never written to
    """Train by a recipe and report whether the new model is better. Unchanged stages are reused.

    Args:
        recipe: Recipe to train by (a file in flows/recipes).
        overrides: Settings that override the recipe, each `section.key=value`, such as `data.source=/data/dialogsum`.
        refresh: Stages to rerun even if nothing changed.
    """
    setup = _set_up(recipe, overrides)
    run_names.rename(f"retrain {_described(setup)}", recipe)
    return Run(setup, refresh).through(dag.retrain, moves=setup.recipe.gate.automatic)


@flow(name="evaluate", flow_run_name=run_names.kept_or(run_names.of_evaluate), persist_result=False)
@fails_in_one_line
def evaluate(
    recipe: RecipeName = "quickstart",
    adapter: Annotated[str, Field(json_schema_extra={"pattern": ANY})] = "latest",
    prompt: Annotated[str, Field(examples=sorted(f.stem for f in PROMPTS.glob("*.txt")))] = "",
    overrides: list[Override] = [],  # noqa: B006
    refresh: list[StageName] = [],  # noqa: B006
) -> Any:
    """Evaluate an existing adapter with another prompt or decoding. No training.

    Args:
        recipe: Recipe whose data, base model and decoding to use (a file in flows/recipes).
        adapter: Artifact id, `champion`, `latest`, or `none` for the base model alone.
        prompt: Name of a file in flows/prompts, or the text itself with `{dialogue}` in it; default: the recipe's prompt.
        overrides: Settings that override the recipe, each `section.key=value`, such as `generate.max_new_tokens=64`.
        refresh: Stages to rerun even if nothing changed.
    """
    if prompt:
        load_prompt(prompt, PROMPTS, "prompt")
    setup = _set_up(recipe, [*overrides, *([f"evaluation.prompt={json.dumps(prompt)}"] if prompt else [])])
    found = find_adapter(adapter, setup.model)
    asked = f"{found.id if found else 'base model'} with prompt {quoted(prompt_label(setup.evaluation_prompt))}"
    run_names.rename(f"evaluate {asked} ({_described(setup)})", recipe)
    return Run(setup, refresh).through(lambda s, step: dag.evaluate(s, step, found), moves=False)


@flow(name="promote", flow_run_name=run_names.kept_or(run_names.of_promote), persist_result=False)
@fails_in_one_line
def promote(
    recipe: RecipeName = "quickstart",
    adapter: Annotated[str, Field(json_schema_extra={"pattern": CANDIDATE})] = "latest",
    overrides: list[Override] = [],  # noqa: B006
    refresh: list[StageName] = [],  # noqa: B006
) -> Any:
    """Compare an existing adapter with base and champion and promote it if it passes the gate.

    Args:
        recipe: Recipe whose data, base model and gate to use (a file in flows/recipes).
        adapter: Artifact id, or `latest`.
        overrides: Settings that override the recipe, each `section.key=value`, such as `gate.probability=0.99`.
        refresh: Stages to rerun even if nothing changed.
    """
    setup = _set_up(recipe, overrides)
    found = find_adapter(adapter, setup.model)
    if found is None:
        raise RequestError("`none` cannot be promoted: name an adapter, or `latest`")
    run_names.rename(f"promote {found.id} ({_described(setup)})", recipe)
    return Run(setup, refresh).through(lambda s, step: dag.evaluate(s, step, found, gated=True), moves=True)

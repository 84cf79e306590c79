"""The flows: the graph with every step a cached Prefect task.

retrain    everything from the data to the decision and the report; moves the champion pointer
evaluate   an adapter that is there, or the base model alone
promote    an adapter that is there, past the gate
"""

import json
import time
from collections.abc import Callable, Iterable
from typing import Annotated, Any
from uuid import uuid4

from prefect import flow, get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed
from prefect.variables import Variable
from pydantic import Field

from artifacts.errors import RequestError, StageError
from artifacts.manifest import Manifest, Record
from artifacts.needs import Uses
from artifacts.refs import Ref
from artifacts.store import Store, id_of
from flows import graph, telling
from flows.adapters import find_adapter
from flows.graph import Outcome, Setup
from flows.planning import describe
from flows.recipe import PROMPTS, RECIPES, load_recipe
from flows.sending import send
from tasks import away
from tasks.gate import deployed
from tasks.launch import expect_workers, no_more_workers
from tasks.outage import retry
from tasks.shell import run_stage, terminal
from tasks.stage import Job, Stage, decide
from tasks.stages import STAGES

OVERRIDES = "dialogsum_overrides"
"""Prefect variable: overrides for every run of a deployment, such as `runtime.machines=2` or `data.source=/data`."""
TRIES = 5
"""How often a decision is made again because another run changed the champion meanwhile."""


class Run:
    """Steps through the graph, each step a Prefect task, and keeps what there is to say about it."""

    def __init__(self, setup: Setup, refresh: list[str]) -> None:
        self.setup, self.refresh = setup, refresh
        self.id = str(flow_run.id or uuid4())
        self.stages: list[dict[str, Any]] = []
        self.uses = Uses(self.id)
        self.away = deployed()
        """Whether stages for a GPU are made by the GPU pool instead of here."""
        Store.current().check_writable()

    def step(self, stage: Stage, of: str | None, spec: Record, **given: Ref | Manifest) -> Ref:
        """Run one stage, or take its artifact from the store."""
        started = time.perf_counter()
        inputs = {role: ref if isinstance(ref, Ref) else Ref.of_manifest(ref) for role, ref in given.items()}
        decision = decide(stage, of, spec, inputs, stage.name in self.refresh)
        self.uses.hold(id_of(decision.path), *(ref.id for ref in inputs.values()))
        label, recipe = " ".join(filter(None, [stage.name, of])), self.setup.recipe
        get_run_logger().info("%s: %s, %s", label, decision.status, decision.reason)
        listener = terminal.get()
        listener.stage(label, decision.status, decision.reason)
        job = Job(
            stage=stage.name, of=of, spec=spec.model_dump(mode="json"), inputs=inputs, identity=decision.identity, run=self.id,
            recipe=f"{recipe.name} {recipe.revision}",
            refresh=decision.status == "run" and stage.name in self.refresh, runtime=recipe.runtime,
        )  # fmt: skip
        sent = decision.status == "run" and stage.pool == "gpu" and self.away
        if decision.status == "run":
            away.keep(job)
            if recipe.runtime.device != "cpu" and not self.away:
                expect_workers(stage.name in ("download", "format", "train") or of == "base")
        if sent:
            send(job, decision.path)
            job = job.model_copy(update={"refresh": False})
        ref = run_stage(job)
        manifest = Store.current().verified(ref.path)
        entry = describe(decision, manifest)
        if decision.status == "run" and not sent and manifest.made.run != self.id:
            entry |= {"status": "reused", "reason": "another run made it meanwhile"}
        entry["seconds"] = round(time.perf_counter() - started, 3)
        self.stages.append(entry)
        listener.finished(entry)
        return ref

    def through(self, walk: Callable[[Setup, Any], Outcome], moves: bool) -> dict[str, Any]:
        """Walk the graph and act on its decision. If the champion changes meanwhile, walk again: it is compared anew.

        Returns what `run --json` prints.
        """
        for _ in range(TRIES):
            self.stages.clear()
            try:
                outcome = walk(self.setup, self.step)
            finally:
                no_more_workers()
            if self._settled(outcome, moves):
                told = telling.tell(self.setup, self.stages, outcome)
                self.uses.end()
                return told
            get_run_logger().warning("the champion changed meanwhile: comparing again")
            self.setup = graph.set_up(self.setup.recipe)
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


def _listed(names: Iterable[str]) -> Any:
    """The UI's form offers these names and refuses others; the command line takes files as well."""
    return Field(json_schema_extra={"enum": [*sorted(names)]})


RecipeName = Annotated[str, _listed(file.stem for file in RECIPES.glob("*.yaml"))]
StageName = Annotated[str, _listed(STAGES)]
Override = Annotated[
    str, Field(json_schema_extra={"pattern": r"^[a-z_]+(\.[a-z_]+)*=", "examples": ["train.epochs=3"]})
]
ANY = r"^(latest|champion|none|train-[0-9a-f]{8})$"
CANDIDATE = r"^(latest|train-[0-9a-f]{8})$"


def _set_up(recipe: str, overrides: list[str]) -> Setup:
    """As a deployment, with what the station adds to every recipe before the run's own overrides."""
    station: Any = retry(Variable.get, OVERRIDES, []) if deployed() else []
    if not isinstance(station, list) or not all(isinstance(override, str) for override in station):
        raise RequestError(f'the Prefect variable {OVERRIDES} has to be a list such as ["train.epochs=3"]')
    return graph.set_up(load_recipe(recipe, [*station, *overrides]))


def _completed(summary: dict[str, Any]) -> Any:
    """The end of a flow: its state says in one line what was done, and who calls the flow gets the summary."""
    return Completed(message=telling.headline(summary), data=summary)


@flow(name="retrain", flow_run_name="retrain {recipe}", persist_result=False)
def retrain(recipe: RecipeName = "quickstart", overrides: list[Override] = [], refresh: list[StageName] = []) -> Any:  # noqa: B006  # never written to
    """Retrain by a recipe and report whether the new model is better; what has not changed is reused.

    Args:
        recipe: what to train, on what data: a name in flows/recipes.
        overrides: `section.key=value`, each overruling the recipe.
        refresh: stages to run again although nothing changed.
    """
    setup = _set_up(recipe, overrides)
    return _completed(Run(setup, refresh).through(graph.retrain, moves=setup.recipe.gate.automatic))


@flow(name="evaluate", flow_run_name="evaluate {adapter} by {recipe}", persist_result=False)
def evaluate(
    recipe: RecipeName = "quickstart",
    adapter: Annotated[str, Field(json_schema_extra={"pattern": ANY})] = "latest",
    prompt: Annotated[str, Field(examples=sorted(f.stem for f in PROMPTS.glob("*.txt")))] = "",
    overrides: list[Override] = [],  # noqa: B006
    refresh: list[StageName] = [],  # noqa: B006
) -> Any:
    """Evaluate an adapter that is there under the recipe's evaluation prompt and decoding; trains nothing.

    Args:
        recipe: whose data, base model and decoding: a name in flows/recipes.
        adapter: an artifact id, `champion`, `latest`, or `none` for the base model alone.
        prompt: a name in flows/prompts, or the text itself with `{dialogue}` in it; the recipe's own unless given.
        overrides: `section.key=value`, such as `generate.max_new_tokens=64`.
        refresh: stages to run again although nothing changed.
    """
    setup = _set_up(recipe, [*overrides, *([f"evaluation.prompt={json.dumps(prompt)}"] if prompt else [])])
    found = find_adapter(adapter, setup.model)
    return _completed(Run(setup, refresh).through(lambda s, step: graph.evaluate(s, step, found), moves=False))


@flow(name="promote", flow_run_name="promote {adapter} by {recipe}", persist_result=False)
def promote(
    recipe: RecipeName = "quickstart",
    adapter: Annotated[str, Field(json_schema_extra={"pattern": CANDIDATE})] = "latest",
    overrides: list[Override] = [],  # noqa: B006
    refresh: list[StageName] = [],  # noqa: B006
) -> Any:
    """Compare an adapter that is there with base and champion; it becomes champion if the gate passes.

    Args:
        recipe: whose data, base model and gate: a name in flows/recipes.
        adapter: an artifact id, or `latest`.
        overrides: `section.key=value`, such as `gate.probability=0.99`.
        refresh: stages to run again although nothing changed.
    """
    setup = _set_up(recipe, overrides)
    found = find_adapter(adapter, setup.model)
    if found is None:
        raise RequestError("`none` cannot be promoted: name an adapter, or `latest`")
    judged = Run(setup, refresh).through(lambda s, step: graph.evaluate(s, step, found, gated=True), moves=True)
    return _completed(judged)

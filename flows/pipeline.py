"""The flows: the graph with every step a cached Prefect task.

retrain    everything from the data to the decision and the report; moves the champion pointer
evaluate   an adapter that is there, or the base model alone
promote    an adapter that is there, past the gate
"""

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from httpx import HTTPError
from prefect import flow, get_client, get_run_logger
from prefect.exceptions import PrefectHTTPStatusError
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL

from artifacts.errors import RequestError, StageError, one_line
from artifacts.manifest import Manifest, Record
from artifacts.needs import Uses
from artifacts.refs import Ref
from artifacts.store import Store, id_of
from flows import graph, telling
from flows.adapters import find_adapter
from flows.graph import Outcome, Setup
from flows.planning import describe
from flows.recipe import load_recipe
from tasks.shell import run_stage, terminal
from tasks.stage import Job, Stage, decide

TRIES = 5
"""How often a decision is made again because another run changed the champion meanwhile."""


class Run:
    """Steps through the graph, each step a Prefect task, and keeps what there is to say about it."""

    def __init__(self, setup: Setup, refresh: list[str]) -> None:
        self.setup, self.refresh = setup, refresh
        self.id = str(flow_run.id or uuid4())
        self.stages: list[dict[str, Any]] = []
        self.uses = Uses(self.id)
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
        ref = run_stage(job)
        manifest = Store.current().verified(ref.path)
        entry = describe(decision, manifest)
        if decision.status == "run" and manifest.made.run != self.id:
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
            outcome = walk(self.setup, self.step)
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


def check_server() -> None:
    """RequestError if PREFECT_API_URL names a server that does not answer, or that wants another credential."""
    url = PREFECT_API_URL.value()
    if not url:  # an ephemeral server will be started
        return
    try:
        with get_client(sync_client=True) as client:
            client.read_concurrency_limits(limit=1, offset=0)
    except PrefectHTTPStatusError as error:
        if error.response.status_code not in (401, 403):
            raise
        raise RequestError(
            f"the Prefect server {url} wants another credential: set PREFECT_API_AUTH_STRING to that of its "
            "PREFECT_SERVER_API_AUTH_STRING"
        ) from error
    except (RuntimeError, HTTPError) as error:
        raise RequestError(
            f"the Prefect server {url} does not answer ({one_line(error, 120)}): start it, or unset PREFECT_API_URL"
        ) from error


@flow(name="retrain", flow_run_name="retrain {recipe}", persist_result=False)
def retrain(
    recipe: str = "quickstart", overrides: list[str] | None = None, refresh: list[str] | None = None
) -> dict[str, Any]:
    """Retrain by a recipe and report whether the new model is better; what has not changed is reused.

    Args:
        recipe: a name in flows/recipes, or a file.
        overrides: `section.key=value`, each overruling the recipe.
        refresh: stages to run again although nothing changed.
    """
    setup = graph.set_up(load_recipe(recipe, overrides or []))
    return Run(setup, refresh or []).through(graph.retrain, moves=setup.recipe.gate.automatic)


@flow(name="evaluate", flow_run_name="evaluate {adapter} by {recipe}", persist_result=False)
def evaluate(
    recipe: str = "quickstart",
    adapter: str = "latest",
    overrides: list[str] | None = None,
    refresh: list[str] | None = None,
) -> dict[str, Any]:
    """Evaluate an adapter that is there under the recipe's evaluation prompt and decoding; trains nothing.

    Args:
        recipe: a name in flows/recipes, or a file.
        adapter: an artifact id, `champion`, `latest`, or `none` for the base model alone.
        overrides: `section.key=value`, such as `evaluation.prompt=brief`.
        refresh: stages to run again although nothing changed.
    """
    setup = graph.set_up(load_recipe(recipe, overrides or []))
    found = find_adapter(adapter, setup.model)
    return Run(setup, refresh or []).through(lambda s, step: graph.evaluate(s, step, found), moves=False)


@flow(name="promote", flow_run_name="promote {adapter} by {recipe}", persist_result=False)
def promote(
    recipe: str = "quickstart",
    adapter: str = "latest",
    overrides: list[str] | None = None,
    refresh: list[str] | None = None,
) -> dict[str, Any]:
    """Compare an adapter that is there with base and champion; it becomes champion if the gate passes.

    Args:
        recipe: a name in flows/recipes, or a file.
        adapter: an artifact id, or `latest`.
        overrides: `section.key=value`, such as `gate.probability=0.99`.
        refresh: stages to run again although nothing changed.
    """
    setup = graph.set_up(load_recipe(recipe, overrides or []))
    found = find_adapter(adapter, setup.model)
    if found is None:
        raise RequestError("`none` cannot be promoted: name an adapter, or `latest`")
    return Run(setup, refresh or []).through(lambda s, step: graph.evaluate(s, step, found, gated=True), moves=True)

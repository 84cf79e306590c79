"""The flows: the graph with every step a cached Prefect task.

retrain    everything from the data to the report
evaluate   an adapter that is there, or the base model alone
"""

import time
from typing import Any
from uuid import uuid4

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.runtime import flow_run

from artifacts.manifest import Record
from artifacts.refs import Ref
from artifacts.store import Store
from flows import graph
from flows.adapters import find_adapter
from flows.planning import describe
from flows.recipe import Recipe, load_recipe
from tasks.shell import run_stage, terminal
from tasks.stage import Job, Stage, decide


class Run:
    """Steps through the graph, each step a Prefect task, and keeps what there is to say about it."""

    def __init__(self, recipe: Recipe, refresh: list[str]) -> None:
        self.recipe, self.refresh = recipe, refresh
        self.id = str(flow_run.id or uuid4())
        self.stages: list[dict[str, Any]] = []
        Store.current().check_writable()

    def step(self, stage: Stage, of: str | None, spec: Record, **inputs: Ref) -> Ref:
        """Run one stage, or take its artifact from the store."""
        started = time.perf_counter()
        decision = decide(stage, of, spec, inputs, stage.name in self.refresh)
        label = " ".join(filter(None, [stage.name, of]))
        get_run_logger().info("%s: %s, %s", label, decision.status, decision.reason)
        listener = terminal.get()
        listener.stage(label, decision.status, decision.reason)
        job = Job(
            stage=stage.name, of=of, spec=spec.model_dump(mode="json"), inputs=inputs, identity=decision.identity, run=self.id,
            refresh=decision.status == "run" and stage.name in self.refresh, runtime=self.recipe.runtime,
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

    def summary(self, report: Ref) -> dict[str, Any]:
        """What `run --json` prints; the same into the Prefect UI as Markdown and table."""
        store = Store.current()
        folder = store.payload(report.path)
        scores = next(e for e in self.stages if e["stage"] == "score")
        found = store.by_id(scores["artifact"])
        create_markdown_artifact(
            (folder / "report.md").read_text(), key="report", description=f"{self.recipe.name}: report"
        )
        create_table_artifact(
            [
                {k: e[k] for k in ("stage", "of", "status", "reason", "artifact", "rows", "seconds")}
                for e in self.stages
            ],
            key="stages",
            description=f"{self.recipe.name}: what ran, what was reused, and why",
        )
        ran = sum(e["status"] == "run" for e in self.stages)
        get_run_logger().info("%s of %s stages ran, the others were reused", ran, len(self.stages))
        return {
            "recipe": self.recipe.name,
            "store": str(store.root),
            "stages": self.stages,
            "scores": found.facts["headline"],
            "report": f"{store.absolute(report.path)}/payload/report.html",
        }


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
    run = Run(setup.recipe, refresh or [])
    return run.summary(graph.retrain(setup, run.step))  # type: ignore[arg-type]


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
    run = Run(setup.recipe, refresh or [])
    return run.summary(graph.evaluate(setup, run.step, Ref.of_manifest(found) if found else None))  # type: ignore[arg-type]

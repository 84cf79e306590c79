"""Executes the DAG: each step is a cached Prefect task, in this process or as a child run on the GPU pool."""

import time
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import uuid4

from prefect import get_run_logger
from prefect.client.schemas import State
from prefect.runtime import flow_run
from prefect.states import Completed

from artifacts.artifact_path import artifact_id
from artifacts.artifact_store import Store
from artifacts.errors import StageError
from artifacts.manifest import Manifest
from artifacts.record import Record
from artifacts.refs import Ref
from artifacts.retention import RunNotes
from flows import dag, publishing
from flows.dag import Outcome, ResolvedRecipe
from flows.gpu_pool import send
from flows.integrations.tracker import find_tracker
from flows.integrations.tracking import tracking
from flows.labels import prompt_label
from flows.run_summary import RunSummary
from flows.slurm.run_on_slurm import run_on_slurm
from flows.slurm.settings import slurm_settings
from tasks.execution.decision import Decision, decide
from tasks.execution.job import Job, save_job
from tasks.execution.listener import StageEntry
from tasks.execution.stage import Stage
from tasks.gpu_lease import is_deployment_run
from tasks.manifest_views import DecisionView
from tasks.prefect_task import current_listener, run_stage
from tasks.registry import worker_follows, worker_modules
from tasks.workers.standby import StandbyWorker

Result = TypeVar("Result")
MAX_COMPARISONS = 5
"""How many times a run evaluates the gate again because another run changed the champion in the meantime."""


class PipelineRun:
    """One run of the DAG: executes its steps, and collects their entries and artifacts for publishing."""

    def __init__(self, resolved: ResolvedRecipe, refresh: list[str]) -> None:
        self.resolved, self.refresh = resolved, refresh
        self.id = str(flow_run.id or uuid4())
        self.entries: list[StageEntry] = []
        self.artifacts: dict[str, Manifest] = {}
        self.notes = RunNotes(Store.current(), self.id)
        self.offload_gpu = is_deployment_run()
        """Whether the GPU pool runs the stages that need a GPU, instead of this process."""
        self.more_walks = False
        """Whether another walk may follow, for which a standby worker waits."""
        self.standby = StandbyWorker(worker_modules())
        for name in resolved.recipe.track:
            find_tracker(name)
        Store.current().check_writable()

    def step(self, stage: Stage, variant: str | None, spec: Record, **inputs: Ref | Manifest) -> Ref:
        """Run one stage, or reuse its artifact from the store."""
        started = time.perf_counter()
        refs = {role: item if isinstance(item, Ref) else Ref.of_manifest(item) for role, item in inputs.items()}
        decision = decide(Store.current(), stage, variant, spec, refs, stage.name in self.refresh)
        self.notes.add(artifact_id(decision.path), *(ref.id for ref in refs.values()))
        self._announce(decision)
        ref, executed_here = self._dispatch(stage, self._job(stage, spec, refs, decision), decision)
        self._record(decision, ref, executed_here, time.perf_counter() - started)
        return ref

    def walk(self, resolved: ResolvedRecipe, walk: Callable[[ResolvedRecipe, Any], Result]) -> Result:
        """Walk a DAG with this recipe. Afterwards `entries` are those of this walk."""
        self.resolved = resolved
        self.entries.clear()
        return walk(resolved, self.step)

    def execute(self, walk: Callable[[ResolvedRecipe, Any], Outcome], may_promote: bool) -> State[RunSummary]:
        """Walk the DAG and act on the gate's decision; walk again if another run changed the champion.

        Returns the state of the finished run: its message is the result in one line, its data the RunSummary.
        """
        with tracking(self.resolved.recipe.track, get_run_logger().warning):
            return self._execute(walk, may_promote)

    def _execute(self, walk: Callable[[ResolvedRecipe, Any], Outcome], may_promote: bool) -> State[RunSummary]:
        for _ in range(MAX_COMPARISONS):
            with self.standby:
                outcome = self.walk(self.resolved, walk)
            if not may_promote or self._promote_if_passed(outcome):
                summary, message = publishing.publish_run(self.resolved, self.entries, outcome, self.artifacts)
                self.notes.finish()
                return Completed(message=message, data=summary)
            get_run_logger().warning("another run changed the champion: comparing again")
            self.resolved = dag.resolve_recipe(self.resolved.recipe, self.resolved.overrides)
        raise StageError(f"the champion changed {MAX_COMPARISONS} times while this run compared with it: run again")

    def _announce(self, decision: Decision) -> None:
        label = " ".join(filter(None, [decision.stage, decision.variant]))
        get_run_logger().info("%s: %s, %s", label, decision.status, decision.reason)
        current_listener.get().stage(label, decision.status, decision.reason, artifact_id(decision.path))

    def _job(self, stage: Stage, spec: Record, refs: dict[str, Ref], decision: Decision) -> Job:
        recipe = self.resolved.recipe
        return Job(
            stage=stage.name,
            variant=decision.variant,
            spec=spec,
            inputs=refs,
            identity=decision.identity,
            run=self.id,
            recipe=f"{recipe.name} {recipe.revision}",
            origin=self._origin(stage),
            refresh=decision.status == "run" and stage.name in self.refresh,
            runtime=recipe.runtime,
        )

    def _dispatch(self, stage: Stage, job: Job, decision: Decision) -> tuple[Ref, bool]:
        """Returns the receipt, and whether the stage ran in this process if it had to run."""
        if decision.status == "reused":
            return run_stage(job), False
        save_job(Store.current(), job)
        on_gpu = stage.pool_for(job.spec) == "gpu"
        slurm = slurm_settings() if on_gpu else None
        if on_gpu and self.offload_gpu:
            send(job, decision.path)
            return run_stage(job.model_copy(update={"refresh": False})), False
        if slurm is not None:
            run_on_slurm(job, slurm)
            return run_stage(job.model_copy(update={"refresh": False})), False
        if job.runtime.device != "cpu" and not self.offload_gpu:
            self.standby.request(self.more_walks or worker_follows(stage, job.variant))
        return run_stage(job), True

    def _record(self, decision: Decision, ref: Ref, executed_here: bool, seconds: float) -> None:
        store = Store.current()
        manifest = store.manifest(ref.path)
        assert manifest is not None  # the receipt was verified when it was built
        entry = StageEntry.of_decision(decision, manifest, store.absolute(manifest.path))
        if executed_here and manifest.provenance.run != self.id:
            entry = entry.model_copy(update={"status": "reused", "reason": "another run made it meanwhile"})
        entry = entry.model_copy(update={"seconds": round(seconds, 3)})
        self.entries.append(entry)
        self.artifacts[manifest.id] = manifest
        current_listener.get().finished(entry)

    def _origin(self, stage: Stage) -> dict[str, str]:
        """Notes in the manifest of an artifact, in addition to its recipe."""
        overrides, prompt = ", ".join(self.resolved.overrides.effective), prompt_label(self.resolved.evaluation_prompt)
        notes = {"overrides": overrides, "prompt": prompt if stage.name == "score" else ""}
        return {name: text for name, text in notes.items() if text}

    def _promote_if_passed(self, outcome: Outcome) -> bool:
        """Move the champion pointer if the gate has passed; False if another run moved it first."""
        if outcome.decision is None or outcome.adapter is None:
            return True
        if not DecisionView(Store.current().by_id(outcome.decision.id)).passed:
            return True
        candidate = self.resolved.candidate(outcome.adapter.id)
        if candidate == self.resolved.champions.current:
            return True
        return self.resolved.champions.promote(candidate, outcome.scores.id, self.id)

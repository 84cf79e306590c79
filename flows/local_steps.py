"""Runs steps of the DAG in this process, without Prefect."""

from dataclasses import dataclass
from typing import Any

from artifacts.artifact_path import artifact_id
from artifacts.artifact_store import Store
from artifacts.record import Record
from artifacts.refs import Ref
from tasks.config import Runtime
from tasks.execution.decision import decide
from tasks.execution.executor import execute
from tasks.execution.job import Job
from tasks.execution.listener import Listener, StageEntry
from tasks.execution.stage import Stage


@dataclass(frozen=True)
class LocalSteps:
    """A `Step` for the functions of flows/dag.py."""

    run: str
    """What made the artifacts, for their manifests."""
    runtime: Runtime
    listener: Listener

    def step(self, stage: Stage, variant: str | None, spec: Record, **inputs: Any) -> Ref:
        """Run one stage, or reuse its artifact from the store."""
        refs = {role: each if isinstance(each, Ref) else Ref.of_manifest(each) for role, each in inputs.items()}
        decision = decide(Store.current(), stage, variant, spec, refs)
        if decision.status == "reused" and decision.manifest is not None:
            return Ref.of_manifest(decision.manifest)
        label = " ".join(filter(None, [stage.name, variant]))
        self.listener.stage(label, decision.status, decision.reason, artifact_id(decision.path))
        job = Job(
            stage=stage.name,
            variant=variant,
            spec=spec,
            inputs=refs,
            identity=decision.identity,
            run=self.run,
            runtime=self.runtime,
        )
        manifest, _ = execute(Store.current(), stage, job, self.listener)
        self.listener.finished(StageEntry.of_decision(decision, manifest, manifest.path))
        return Ref.of_manifest(manifest)

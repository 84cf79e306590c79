"""plan: what `run` would do and why, without doing it. Starts no server, imports no torch."""

from typing import Any

from artifacts.artifact_store import Store
from artifacts.cache_key import UNKNOWN
from artifacts.manifest import Manifest
from artifacts.record import Record
from tasks.execution.decision import Decision, Input, PlannedArtifact, decide
from tasks.execution.stage import Stage


class Planner:
    """Steps through the graph deciding only."""

    def __init__(self, refresh: frozenset[str] = frozenset()) -> None:
        self.refresh = refresh
        self.stages: list[dict[str, Any]] = []

    def step(self, stage: Stage, of: str | None, spec: Record, **inputs: Input) -> Input:
        """Decide one stage. What has to be made again is expected to come out as it was, where it was there."""
        decision = decide(Store.current(), stage, of, spec, inputs, stage.name in self.refresh)
        self.stages.append(describe(decision, decision.manifest))
        if decision.manifest is None:
            return PlannedArtifact(id=f"{stage.name}-{decision.key[:8]}", digest=f"{UNKNOWN} by {stage.name}")
        return PlannedArtifact(id=decision.manifest.id, digest=decision.manifest.digest)


def describe(decision: Decision, manifest: Manifest | None) -> dict[str, Any]:
    """One entry of `stages` in the JSON of `run` and `plan`."""
    return {
        "stage": decision.stage,
        "of": decision.variant,
        "status": decision.status,
        "reason": decision.reason,
        "artifact": manifest.id if manifest else None,
        "path": Store.current().absolute(manifest.path) if manifest else None,
        "rows": manifest.rows if manifest else None,
        "seconds": manifest.provenance.seconds if manifest else None,
    }

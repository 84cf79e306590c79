"""plan: walks the DAG without executing it. Starts no server and imports no torch."""

from artifacts.artifact_store import Store
from artifacts.cache_key import UNKNOWN
from artifacts.record import Record
from tasks.execution.decision import Input, PlannedArtifact, decide
from tasks.execution.listener import StageEntry
from tasks.execution.stage import Stage


class Planner:
    """Walks the DAG and decides each step without executing it."""

    def __init__(self, refresh: frozenset[str] = frozenset()) -> None:
        self.refresh = refresh
        self.entries: list[StageEntry] = []

    def step(self, stage: Stage, variant: str | None, spec: Record, **inputs: Input) -> Input:
        """Decide one stage. A stage that would run again is expected to give the same result as before."""
        decision = decide(Store.current(), stage, variant, spec, inputs, stage.name in self.refresh)
        self.entries.append(
            StageEntry.of_decision(decision, decision.manifest, Store.current().absolute(decision.path))
        )
        if decision.manifest is None:
            planned = f"{stage.name}-{decision.key[:8]}"
            return PlannedArtifact(id=planned, digest=f"{UNKNOWN} as {planned}")
        return PlannedArtifact(id=decision.manifest.id, digest=decision.manifest.digest)

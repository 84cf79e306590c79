"""The result of a run of the pipeline, whose JSON `run --json` prints."""

from typing import Any

from artifacts.record import Record
from flows.conditions import ConditionResult
from tasks.data.change_records import DataComparison
from tasks.execution.listener import StageEntry
from tasks.metrics.gate_decision import GateCheck

ScoresBySystem = dict[str, dict[str, float]]
"""System -> ROUGE type -> F1 x 100 under the headline protocol."""


class DecisionSummary(Record):
    """What the promotion gate decided, and what it changed."""

    adapter: str
    state: str
    """promoted, passed or rejected."""
    reasons: list[str]
    checks: list[GateCheck]


class RunSummary(Record):
    """The result of a run. Its JSON keys are part of the command line's interface."""

    recipe: str
    store: str
    stages: list[StageEntry]
    scores: ScoresBySystem
    report: str
    """Path or address of report.html."""
    seeds: list[dict[str, float]] | None = None
    """ROUGE type -> F1 x 100 of the tuned model, for each training seed; None if only one was trained."""
    decision: DecisionSummary | None = None
    """None if the gate was not evaluated."""
    conditions: list[ConditionResult] | None = None
    """What `--require` demanded; None if it was not used."""
    data_changes: DataComparison | None = None
    """What changed in the data since the champion was trained; None if nothing did or there is no champion."""

    def artifact_of(self, stage: str, variant: str | None = None) -> str:
        """Id of the artifact of a stage."""
        return next(
            entry.artifact
            for entry in self.stages
            if (entry.stage, entry.variant) == (stage, variant) and entry.artifact is not None
        )

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in self.model_dump(mode="json", by_alias=True).items() if value is not None}

"""The entry of a stage in the JSON of `run` and `plan`, and the listener that receives it while a run is going on."""

from typing import Any, Protocol

from pydantic import ConfigDict, Field

from artifacts.manifest import Manifest
from artifacts.record import Record
from tasks.execution.decision import Decision
from tasks.workers.events import Events


class StageEntry(Record):
    """One stage of a run or a plan. Its JSON keys are part of the command line's interface."""

    model_config = ConfigDict(populate_by_name=True)

    stage: str
    variant: str | None = Field(default=None, validation_alias="of", serialization_alias="of")
    """train, eval, base, tuned, champion, before or `seed n`, where a stage has several artifacts in a run."""
    status: str
    """run or reused."""
    reason: str
    artifact: str | None
    """Id; None in a plan if the artifact does not exist yet."""
    path: str | None
    """Absolute path, or address in an object store."""
    rows: int | None
    seconds: float | None

    @classmethod
    def of_decision(cls, decision: Decision, manifest: Manifest | None, path: str | None) -> "StageEntry":
        """The entry of a decision. `manifest` is that of the artifact, if it exists; `path` is where it is."""
        return cls(
            stage=decision.stage,
            variant=decision.variant,
            status=decision.status,
            reason=decision.reason,
            artifact=manifest.id if manifest else None,
            path=path if manifest else None,
            rows=manifest.rows if manifest else None,
            seconds=manifest.provenance.seconds if manifest else None,
        )

    @property
    def label(self) -> str:
        """`generate tuned`."""
        return " ".join(filter(None, [self.stage, self.variant]))

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True)


class Listener(Events, Protocol):
    """Receives the start and the end of each stage, in addition to its progress and log lines."""

    def stage(self, label: str, status: str, reason: str, artifact: str) -> None:
        """A stage is about to make this artifact, or it is reused."""

    def finished(self, entry: StageEntry) -> None:
        """A stage has ended."""

"""Keeps the record of a trial up to date while its stages run, and ends a training that is not worth finishing."""

import time
from collections.abc import Callable

from artifacts.artifact_store import Store
from flows.sweeps.trials import Trial, TrialStore
from tasks.execution.listener import Listener, StageEntry
from tasks.manifest_views import gpu_seconds

PruneReason = Callable[[Trial], str | None]
"""Why the training of a trial should end, after its last loss; None if it should go on."""


class PrunedError(Exception):
    """The training of this trial was ended before its end; the message is the reason."""


class TrialListener:
    """Listener for one sitting of a trial. All events also go to `inner`, the listener of the run.

    Seconds are those that the artifacts record. An unfinished stage counts from its start or, if it runs on the GPU
    pool, where it may wait for a GPU, from its first measurement.
    """

    def __init__(
        self, trial: Trial, trials: TrialStore, inner: Listener, prune: PruneReason | None, on_pool: bool
    ) -> None:
        """prune: None if no training is ended early. on_pool: whether trainings run on the GPU pool."""
        self.trial = trial.model_copy(update={"losses": {}})  # a training that is resumed reports all of them again
        self.trials, self.inner, self.prune, self.on_pool = trials, inner, prune, on_pool
        self.paid = trial.seconds
        self.started: float | None = None

    def stage(self, label: str, status: str, reason: str, artifact: str) -> None:
        self.started = time.monotonic() if status == "run" and not self.on_pool else None
        self.inner.stage(label, status, reason, artifact)

    def finished(self, entry: StageEntry) -> None:
        self.started = None
        if entry.status == "run" and entry.artifact is not None:
            manifest = Store.current().by_id(entry.artifact)
            self.paid += manifest.provenance.seconds
            gpus = self.trial.gpu_seconds + gpu_seconds(manifest)
            self.trial = self.trial.model_copy(update={"gpu_seconds": round(gpus, 3)})
        self.save()
        self.inner.finished(entry)

    def progress(self, completed: int, total: int, note: str = "") -> None:
        self.inner.progress(completed, total, note)

    def log(self, line: str) -> None:
        self.inner.log(line)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """PrunedError if the training should end with this validation loss."""
        self.inner.metrics(step, values)
        self.started = self.started or time.monotonic()
        if "validation_loss" in values:
            self.trial = self.trial.model_copy(update={"losses": self.trial.losses | {step: values["validation_loss"]}})
            self.save()
            if self.prune is not None and self.trial.curve and (reason := self.prune(self.trial)):
                raise PrunedError(reason)

    def save(self) -> Trial:
        """Write the record, with the seconds of a stage that has not finished."""
        running = time.monotonic() - self.started if self.started is not None else 0.0
        self.trial = self.trial.model_copy(update={"seconds": round(self.paid + running, 3)})
        self.trials.save(self.trial)
        return self.trial

"""Small guards of the training loop: against divergence, lost work and SIGTERM."""

import math
import signal
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

from artifacts.errors import StageError
from tasks.training.objective import Objective
from tasks.training.schedule import StepSchedule

CHECKPOINT_SECONDS = 60.0
LOSS_COLUMNS = ("validation_loss", "train_loss")
"""Columns of the curve with a loss; the first value in them is the base model's."""


class DivergenceGuard:
    """Ends a training whose loss or gradients are NaN, infinite or implausibly large."""

    def __init__(self, objective: Objective, schedule: StepSchedule, learning_rate_key: str) -> None:
        """`learning_rate_key`: of the recipe."""
        self.objective, self.schedule, self.learning_rate_key = objective, schedule, learning_rate_key

    def check(self, name: str, value: float, step: int, limit: float = math.inf) -> None:
        """Raise a StageError that names the examples of the step, unless `value` is finite and at most `limit`."""
        if not (math.isfinite(value) and value <= limit):
            names = ", ".join(self.objective.ids[i] for i in self.schedule.rows(step))
            learning_rate = self.schedule.learning_rate(step)
            raise StageError(
                f"{name} is {value:.4g} at step {step + 1} of {self.schedule.steps} "
                f"(learning rate {learning_rate:.3g}): lower {self.learning_rate_key}; no adapter was written; "
                f"{self.objective.example}s of the step: {names}"
            )


def first_loss(curve: Sequence[dict[str, Any]], loss: float) -> float:
    """The first loss of a curve; `loss` if it has none yet."""
    return next((row[name] for row in curve for name in LOSS_COLUMNS if name in row), loss)


class CheckpointTimer:
    """Tells when the next checkpoint is due."""

    def __init__(self) -> None:
        self.seconds = CHECKPOINT_SECONDS
        self.restart()

    def restart(self) -> None:
        self.started = time.monotonic()

    def is_due(self) -> bool:
        return time.monotonic() - self.started >= self.seconds


class SigtermFlag:
    """Inside of `with flag:` SIGTERM sets `received` instead of ending the process. Works in the main thread only."""

    def __init__(self) -> None:
        self.received = False
        self._previous: Any = None

    def __enter__(self) -> "SigtermFlag":
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.received = True

"""Which rows an optimizer step sees, and how far it goes: functions of the settings and the step alone.

So a run that goes on from step k needs no state of a sampler or a scheduler. Steps count from 0.
"""

import math
import random
from functools import lru_cache

from tasks.config import TrainConfig


class Plan:
    """The steps of a training on `rows` rows."""

    def __init__(self, rows: int, settings: TrainConfig) -> None:
        self.total, self.settings = rows, settings
        self.per_epoch = math.ceil(rows / settings.batch_size)
        self.steps = settings.max_steps or math.ceil(self.per_epoch * settings.epochs)
        self.warmup = math.ceil(self.steps * settings.warmup)
        self.every = max(1, math.ceil(self.steps / settings.evaluations))
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def rows(self, step: int) -> list[int]:
        """Indexes of the step's rows. Each epoch sees every row once; its last step may have fewer."""
        epoch, at = divmod(step, self.per_epoch)
        size = self.settings.batch_size
        return self._order(epoch)[at * size : (at + 1) * size]

    def _shuffled(self, epoch: int) -> list[int]:
        order = list(range(self.total))
        random.Random(f"rows {self.settings.seed} {epoch}").shuffle(order)  # noqa: S311
        return order

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then the schedule. `constant` has no warm-up, as in transformers."""
        peak, left = self.settings.learning_rate, max(1, self.steps - self.warmup)
        if self.settings.schedule == "constant":
            return peak
        if step < self.warmup:
            return peak * step / self.warmup
        if self.settings.schedule == "linear":
            return peak * max(0.0, (self.steps - step) / left)
        return peak * max(0.0, 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / left)))

    def evaluates(self, done: int) -> bool:
        """Whether the validation loss is measured after `done` steps."""
        return done % self.every == 0 or done == self.steps

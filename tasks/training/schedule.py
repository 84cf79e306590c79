"""Rows and learning rate of each optimizer step, as functions of the settings and the step alone.

A run that resumes at step k therefore needs no state of a sampler or a scheduler. Steps count from 0.
"""

import math
import random
from functools import lru_cache

from tasks.config import TrainConfig


class StepSchedule:
    """The optimizer steps of a training on `row_count` rows."""

    def __init__(self, row_count: int, settings: TrainConfig) -> None:
        self.row_count, self.settings = row_count, settings
        self.steps_per_epoch = math.ceil(row_count / settings.batch_size)
        self.steps = settings.max_steps or math.ceil(self.steps_per_epoch * settings.epochs)
        self.warmup_steps = math.ceil(self.steps * settings.warmup)
        self.validation_interval = max(1, math.ceil(self.steps / settings.evaluations))
        self._row_order = lru_cache(maxsize=2)(self._shuffle)

    def rows(self, step: int) -> list[int]:
        """Indexes of the step's rows. Each epoch contains every row once; its last step may have fewer rows."""
        epoch, step_in_epoch = divmod(step, self.steps_per_epoch)
        size = self.settings.batch_size
        return self._row_order(epoch)[step_in_epoch * size : (step_in_epoch + 1) * size]

    def _shuffle(self, epoch: int) -> list[int]:
        order = list(range(self.row_count))
        random.Random(f"rows {self.settings.seed} {epoch}").shuffle(order)  # noqa: S311
        return order

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then the schedule. As in transformers, `constant` has no warm-up."""
        peak, decay_steps = self.settings.learning_rate, max(1, self.steps - self.warmup_steps)
        if self.settings.schedule == "constant":
            return peak
        if step < self.warmup_steps:
            return peak * step / self.warmup_steps
        if self.settings.schedule == "linear":
            return peak * max(0.0, (self.steps - step) / decay_steps)
        return peak * max(0.0, 0.5 * (1 + math.cos(math.pi * (step - self.warmup_steps) / decay_steps)))

    def validates_after(self, steps: int) -> bool:
        """Whether the validation loss is measured after `steps` steps."""
        return steps % self.validation_interval == 0 or steps == self.steps

"""The training loop: the same examples, learning rates and sums on any hardware; it can be interrupted at any moment.

Loss and gradient of a step are sums over its examples, divided by the number of their labelled tokens or pairs, so
dividing the examples among processes and micro-batches changes rounding only. The host does not wait for the device:
the results of a step are read once the next step is queued. A loss that is NaN or infinite therefore ends the run at
most one step later, before any checkpoint of it.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from artifacts.errors import StageError
from tasks.config import TrainConfig
from tasks.training import checkpoint
from tasks.training.gradients import GradientAccumulator
from tasks.training.guards import CheckpointTimer, DivergenceGuard, SigtermFlag, first_loss
from tasks.training.objective import Objective, max_plausible_cross_entropy
from tasks.training.optimizer import Optimizer
from tasks.training.packing import LabelledRows, balance_by_tokens, pack
from tasks.training.process_group import ProcessGroup
from tasks.training.schedule import StepSchedule
from tasks.workers.events import Events

WARM_UP_STEPS = 1000
"""Steps whose micro-batches the warm-up looks at."""


class StoppedError(StageError):
    """SIGTERM stopped the training; a checkpoint was written."""

    exit_code = 143


@dataclass
class Timing:
    """Seconds of each phase, and the tokens of the steps."""

    warm_up: float = 0.0
    training: float = 0.0
    """From the first validation to the last."""
    validation: float = 0.0
    tokens: int = 0
    resumed_at: int = 0


@dataclass
class QueuedStep:
    """A step whose results are on their way to the host."""

    step: int
    results: torch.Tensor
    """[3 + figures] loss, gradient norm, number of processes that received SIGTERM, figures of the objective."""
    copied: Any
    """CUDA event, None on a CPU."""


class Loop:
    """One training. Here the packed engine computes the steps; in TrlLoop, TRL does."""

    def __init__(
        self,
        objective: Objective,
        settings: TrainConfig,
        validation: LabelledRows,
        group: ProcessGroup,
        events: Events,
        token_budget: int,
        max_rows: int | None = None,
        work: Path | None = None,
        identity: str = "",
        learning_rate_key: str = "train.learning_rate",
    ) -> None:
        """`token_budget`, `max_rows`: limits of a micro-batch. `work`: folder for checkpoints, None for none."""
        self.model, self.objective, self.settings, self.validation = objective.model, objective, settings, validation
        self.group, self.events, self.work, self.identity = group, events, work, identity
        self.schedule = StepSchedule(len(objective.ids), settings)
        self.optimizer = Optimizer(self.model.adapter, settings)
        self.gradients = GradientAccumulator(objective, group, events, token_budget, max_rows)
        self.progress = checkpoint.Progress(steps_done=0, curve=[], token_budget=token_budget)
        self.guard = DivergenceGuard(objective, self.schedule, learning_rate_key)
        self.timer = CheckpointTimer()
        self.timing = Timing()
        self.sigterm = SigtermFlag()
        self.stop_after_step = False
        self._queued: QueuedStep | None = None
        self._last_update = time.monotonic()

    def run(self) -> None:
        """Train to the end. StageError if a loss is NaN, infinite or has diverged; StoppedError after SIGTERM."""
        self.group.broadcast(self.model.adapter.values.data)
        self.model.adapter.refresh()
        self.objective.prepare(self.group, self.gradients.micro_batches)
        self._resume()
        steps = self.schedule.steps
        with self.sigterm:
            if self.model.device.type == "cuda" and self.progress.steps_done < steps:
                upcoming = range(self.progress.steps_done, min(steps, self.progress.steps_done + WARM_UP_STEPS))
                self.timing.warm_up = self.gradients.warm_up([self.schedule.rows(step) for step in upcoming])
            started = time.perf_counter()
            self._validate(self.progress.steps_done)
            self._run_steps()
            self.guard.check("the adapter's norm", self.model.adapter.values.data.norm().item(), steps - 1)
            self.timing.training = time.perf_counter() - started

    def final_figures(self) -> dict[str, float]:
        """Mean of each figure of the objective over the last tenth of the steps."""
        last = self.progress.curve[-max(1, self.schedule.steps // 10) :]
        return {name: round(fmean(point[name] for point in last), 4) for name in self.objective.figures}

    # -- a step

    def _run_steps(self) -> None:
        """The steps that are left, each with its validation and checkpoint."""
        for step in range(self.progress.steps_done, self.schedule.steps):
            self._step(step)
            if self.model.device.type == "cpu" or self.schedule.validates_after(step + 1) or self._checkpoint_due():
                self._drain()
            self._finish_step(step)

    def _finish_step(self, step: int) -> None:
        """Stop if SIGTERM was received; validate and save if that is due."""
        if self.stop_after_step:
            self._stop()
        self._validate(step + 1)
        if self._checkpoint_due():
            self._save_checkpoint()

    def _add_gradients(self, step: int) -> tuple[torch.Tensor, int]:
        """Add the gradients of all examples of a step, of all processes.

        Returns the sums of the losses, of each figure of the objective, and of the processes that received SIGTERM
        [2 + figures], and the number by which gradients, losses and figures are to be divided.
        """
        examples = self.schedule.rows(step)
        dropout_seed = ((self.settings.seed * 1_000_003 + step) * 1_009 + self.group.rank) % 2**63
        torch.manual_seed(dropout_seed)
        own_sums = self.gradients.accumulate(self.gradients.own_examples(examples))
        sums = torch.cat([own_sums, own_sums.new_tensor([float(self.sigterm.received)])])
        self.group.all_reduce(self.model.adapter.grads)
        self.group.all_reduce(sums)
        self.timing.tokens += sum(self.objective.lengths[i] for i in examples)
        return sums, max(1, sum(self.objective.counts[i] for i in examples))

    def _step(self, step: int) -> None:
        """Queue a step on the device, then read the results of the previous one."""
        sums, count = self._add_gradients(step)
        norm = self.optimizer.step(self.schedule.learning_rate(step), count)
        means = sums[:-1] / count
        results = torch.cat([means[:1], norm[None], sums[-1:], means[1:]])
        host = torch.empty(len(results), pin_memory=results.is_cuda).copy_(results, non_blocking=True)
        copied = torch.cuda.current_stream().record_event() if results.is_cuda else None
        previous, self._queued = self._queued, QueuedStep(step, host, copied)
        if previous:
            self._read(previous)

    def _drain(self) -> None:
        """Read the results of the step that is queued."""
        previous, self._queued = self._queued, None
        if previous:
            self._read(previous)

    def _read(self, queued: QueuedStep) -> None:
        """Wait for the results of a step, check them and report them."""
        if queued.copied is not None:
            queued.copied.synchronize()
        step = queued.step
        loss, norm, sigterms, *figures = queued.results.tolist()
        first = first_loss(self.progress.curve, loss)
        self.guard.check("loss", loss, step, self.objective.max_plausible_loss(first))
        self.guard.check("gradient norm", norm, step)
        self.progress.steps_done = step + 1
        point = {
            "epoch": (step + 1) / self.schedule.steps_per_epoch,
            "learning_rate": self.schedule.learning_rate(step),
            "gradient_norm": norm,
            "train_loss": loss,
            **dict(zip(self.objective.figures, figures, strict=True)),
        }
        self.progress.curve.append({"step": step + 1} | point)
        self.events.metrics(step + 1, point)
        now = time.monotonic()
        tokens = sum(self.objective.lengths[i] for i in self.schedule.rows(step))
        speed = tokens / max(1e-9, now - self._last_update)
        self._last_update = now
        self.events.progress(step + 1, self.schedule.steps, f"loss {loss:.3f}, {speed:,.0f} tokens/s")
        self.stop_after_step |= bool(sigterms)

    def _validate(self, steps_done: int) -> None:
        """Measure the mean loss over the labelled validation tokens, if that is due after `steps_done` steps."""
        target_count, curve = sum(self.validation.target_counts), self.progress.curve
        due = not steps_done or self.schedule.validates_after(steps_done)
        if not target_count or not due or (curve and "validation_loss" in curve[-1]):
            return
        started = time.perf_counter()
        own = balance_by_tokens(self.validation.lengths, self.group.size)[self.group.rank]
        total = torch.zeros((), device=self.model.device, dtype=torch.float64)
        with torch.no_grad():
            for part in self.gradients.micro_batches([self.validation.lengths[i] for i in own]):
                if self.sigterm.received and self.group.size == 1:
                    self._stop()
                rows = [self.validation.rows[own[i]] for i in part]
                total += self.model.loss(pack(rows).to(self.model.device)).double()
        self.group.all_reduce(total)
        loss = total.item() / target_count
        limit = max_plausible_cross_entropy(self.model.vocabulary, first_loss(curve, loss))
        self.guard.check("validation loss", loss, max(0, steps_done - 1), limit)
        if not steps_done:
            curve.append({"step": 0, "epoch": 0.0})
        curve[-1]["validation_loss"] = loss
        self.events.metrics(steps_done, {"epoch": curve[-1]["epoch"], "validation_loss": loss})
        self.timing.validation += time.perf_counter() - started
        self.events.log(f"step {steps_done}: validation loss {loss:.4f}")
        self._last_update = time.monotonic()

    # -- interruptions

    def _checkpoint_due(self) -> bool:
        return self.work is not None and self.timer.is_due()

    def _save_checkpoint(self) -> None:
        self.timer.restart()
        self.progress.token_budget = self.gradients.token_budget
        if self.work is not None and self.group.rank == 0:
            checkpoint.save(self.work, self.identity, self.progress, self.optimizer.tensors())

    def _resume(self) -> None:
        """Load the newest checkpoint of this training, if there is one."""
        loaded = checkpoint.load_newest(self.work, self.identity, self.events.log) if self.work is not None else None
        steps_done = loaded[0].steps_done if loaded else 0
        first_process = torch.tensor(steps_done, device=self.model.device)
        self.group.broadcast(first_process)
        if self.group.size > 1 and int(first_process) != steps_done:
            raise StageError(
                "the processes see different checkpoints: the scratch folder of the store must be on a disk that "
                "they share"
            )
        if loaded:
            self.progress, tensors = loaded
            self.gradients.token_budget = self.progress.token_budget
            self.optimizer.restore(tensors)
            self.timing.resumed_at = self.progress.steps_done
            for point in self.progress.curve:
                self.events.metrics(point["step"], {name: value for name, value in point.items() if name != "step"})
            self.events.log(
                f"resuming from the checkpoint after step {self.progress.steps_done} of {self.schedule.steps}"
            )

    def _stop(self) -> None:
        """Write a checkpoint and raise StoppedError."""
        self._drain()
        self._save_checkpoint()
        raise StoppedError(
            f"stopped by SIGTERM after step {self.progress.steps_done} of {self.schedule.steps}; "
            "a checkpoint was written, and the next run resumes from it"
        )

"""The training loop: the same rows, rates and sums whatever the hardware, and it can be interrupted at any moment.

A step's loss and gradient are sums over its labelled tokens, divided by their number: how the rows are shared out among
processes and micro-batches changes rounding only. The device is not waited for: a step's figures are read once the next
one is queued, so a loss that is no number ends the run one step later at the most, before any checkpoint of it.
"""

import math
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from artifacts.errors import StageError
from tasks.config import TrainConfig
from tasks.training import checkpoint
from tasks.training.builder import Trainable
from tasks.training.gradients import Gradients
from tasks.training.optimizer import Optimizer
from tasks.training.packing import Rows, pack, shares
from tasks.training.process_group import Group
from tasks.training.schedule import Plan
from tasks.workers.events import Events

CHECKPOINT_SECONDS = 60.0
FIGURES = ("validation_loss", "train_loss")
"""Of a row of the curve; the first one there is, is the base model's."""


class StoppedError(StageError):
    """Asked to stop by SIGTERM; a checkpoint was written."""

    exit_code = 143


@dataclass
class Timing:
    """Seconds, and the tokens of the steps."""

    warm: float = 0.0
    training: float = 0.0
    """From the first validation to the last."""
    validation: float = 0.0
    tokens: int = 0
    resumed_at: int = 0


class Loop:
    """One training."""

    def __init__(
        self, model: Trainable, settings: TrainConfig, train: Rows, validation: Rows, group: Group, events: Events,
        budget: int, most_rows: int | None = None, work: Path | None = None, identity: str = "",
    ) -> None:  # fmt: skip
        """`budget`: tokens of a micro-batch; `most_rows`: its rows. `work`: where checkpoints lie, None for none."""
        self.model, self.settings, self.train, self.validation = model, settings, train, validation
        self.group, self.events, self.work, self.identity = group, events, work, identity
        self.plan = Plan(len(train.rows), settings)
        self.optimizer = Optimizer(model.adapter, settings)
        self.gradients = Gradients(model, train, group, events, budget, most_rows)
        self.progress = checkpoint.Progress(done=0, curve=[], budget=budget)
        self.timing = Timing()
        self.stopped = self.stopping = False
        self._queued: tuple[int, torch.Tensor, Any] | None = None
        self._saved = self._told = time.monotonic()
        self.checkpoint_seconds = CHECKPOINT_SECONDS

    # -- the whole

    def run(self) -> None:
        """Train to the end. StageError if a loss is no number, StoppedError after SIGTERM."""
        self.group.same(self.model.adapter.values.data)
        self.model.adapter.refresh()
        self._resume()
        before = self._listen()
        try:
            if self.model.device.type == "cuda" and self.progress.done < self.plan.steps:
                to_come = range(self.progress.done, min(self.plan.steps, self.progress.done + 1000))
                self.timing.warm = self.gradients.warm_up([self.plan.rows(step) for step in to_come])
            started = time.perf_counter()
            self._validate(self.progress.done)
            for step in range(self.progress.done, self.plan.steps):
                self._step(step)
                if self.model.device.type == "cpu" or self.plan.evaluates(step + 1) or self._due():
                    self._settle()
                if self.stopping:
                    self._stop()
                self._validate(step + 1)
                if self._due():
                    self._save()
            self._refuse("the adapter's norm", self.model.adapter.values.data.norm().item(), self.plan.steps - 1)
            self.timing.training = time.perf_counter() - started
        finally:
            if before is not None:
                signal.signal(signal.SIGTERM, before)

    # -- a step

    def _step(self, step: int) -> None:
        chosen = self.plan.rows(step)
        torch.manual_seed(((self.settings.seed * 1_000_003 + step) * 1_009 + self.group.rank) % 2**63)  # of dropout
        total = self.gradients.add(self.gradients.mine(chosen))
        found = torch.stack([total, total.new_tensor(float(self.stopped))])
        self.group.add(self.model.adapter.grads)
        self.group.add(found)
        count = max(1, sum(self.train.targets[i] for i in chosen))
        norm = self.optimizer.step(self.plan.rate(step), count)
        found = torch.stack([found[0] / count, norm, found[1]])
        host = torch.empty(3, pin_memory=found.is_cuda).copy_(found, non_blocking=True)
        copied = torch.cuda.current_stream().record_event() if found.is_cuda else None
        previous, self._queued = self._queued, (step, host, copied)
        if previous:
            self._read(*previous)
        self.timing.tokens += sum(self.train.lengths[i] for i in chosen)

    # -- what is told and kept

    def _settle(self) -> None:
        """Read what is queued."""
        previous, self._queued = self._queued, None
        if previous:
            self._read(*previous)

    def _read(self, step: int, host: torch.Tensor, copied: Any) -> None:
        if copied is not None:
            copied.synchronize()
        loss, norm, stop = host.tolist()
        self._refuse("loss", loss, step, self._most(loss))
        self._refuse("gradient norm", norm, step)
        self.progress.done = step + 1
        self.progress.curve.append(
            {"step": step + 1, "epoch": (step + 1) / self.plan.per_epoch, "learning_rate": self.plan.rate(step),
             "gradient_norm": norm, "train_loss": loss}
        )  # fmt: skip
        now = time.monotonic()
        speed = sum(self.train.lengths[i] for i in self.plan.rows(step)) / max(1e-9, now - self._told)
        self._told = now
        self.events.progress(step + 1, self.plan.steps, f"loss {loss:.3f}, {speed:,.0f} tokens/s")
        self.stopping |= bool(stop)

    def _refuse(self, name: str, value: float, step: int, most: float = math.inf) -> None:
        """StageError if a figure of a step is no number, or more than there can be."""
        if not (math.isfinite(value) and value <= most):
            rows = ", ".join(self.train.ids[i] for i in self.plan.rows(step))
            raise StageError(
                f"{name} is {value:.4g} at step {step + 1} of {self.plan.steps} (learning rate {self.plan.rate(step):.3g}): "
                f"lower train.learning_rate; no adapter was written; rows of the step: {rows}"
            )

    def _most(self, loss: float) -> float:
        """A loss above it has exploded: twice that of guessing among all tokens, and twice the first."""
        first = next((row[name] for row in self.progress.curve for name in FIGURES if name in row), loss)
        return 2 * max(math.log(self.model.vocabulary), first)

    def _validate(self, done: int) -> None:
        """If it is due after `done` steps, and was not done: the mean loss over the labelled tokens of the validation rows."""
        count, curve = sum(self.validation.targets), self.progress.curve
        if not count or (done and not self.plan.evaluates(done)) or (curve and "validation_loss" in curve[-1]):
            return
        started = time.perf_counter()
        mine = shares(self.validation.lengths, self.group.size)[self.group.rank]
        total = torch.zeros((), device=self.model.device, dtype=torch.float64)
        with torch.no_grad():
            for part in self.gradients.parts([self.validation.lengths[i] for i in mine]):
                if self.stopped and self.group.size == 1:
                    self._stop()
                rows = [self.validation.rows[mine[i]] for i in part]
                total += self.model.loss(pack(rows).to(self.model.device)).double()
        self.group.add(total)
        loss = total.item() / count
        self._refuse("validation loss", loss, max(0, done - 1), self._most(loss))
        if not done:
            curve.append({"step": 0, "epoch": 0.0})
        curve[-1]["validation_loss"] = loss
        self.timing.validation += time.perf_counter() - started
        self.events.log(f"step {done}: validation loss {loss:.4f}")
        self._told = time.monotonic()

    # -- interruptions

    def _due(self) -> bool:
        return self.work is not None and time.monotonic() - self._saved >= self.checkpoint_seconds

    def _save(self) -> None:
        self._saved = time.monotonic()
        self.progress.budget = self.gradients.budget
        if self.work is not None and self.group.rank == 0:
            checkpoint.save(self.work, self.identity, self.progress, self.optimizer.tensors())

    def _resume(self) -> None:
        found = checkpoint.newest(self.work, self.identity, self.events.log) if self.work is not None else None
        at = torch.tensor(found[0].done if found else 0, device=self.model.device)
        self.group.same(at)
        if self.group.size > 1 and int(at) != (found[0].done if found else 0):
            raise StageError("the processes see different checkpoints: the store's scratch must be on one disk")
        if found:
            self.progress, tensors = found
            self.gradients.budget = self.progress.budget
            self.optimizer.restore(tensors)
            self.timing.resumed_at = self.progress.done
            self.events.log(f"going on from the checkpoint after step {self.progress.done} of {self.plan.steps}")

    def _listen(self) -> Any:
        """Take SIGTERM as a wish to stop after the step. Returns the handler to put back; None where there can be none."""
        if threading.current_thread() is not threading.main_thread():
            return None

        def stop(signum: int, frame: FrameType | None) -> None:
            self.stopped = True

        return signal.signal(signal.SIGTERM, stop)

    def _stop(self) -> None:
        self._settle()
        self._save()
        raise StoppedError(
            f"stopped by SIGTERM after step {self.progress.done} of {self.plan.steps}; "
            "a checkpoint was written, and the next run goes on from it"
        )

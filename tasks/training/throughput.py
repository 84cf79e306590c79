"""Throughput of a training: seconds, tokens per second, memory."""

import time

import torch

from tasks.models.loading import device_description
from tasks.training.loop import Loop
from tasks.training.process_group import ProcessGroup
from tasks.training.worker_records import TrainingMeasurements


class ThroughputMeter:
    """Measures from its construction on."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.loading_seconds = 0.0

    def model_loaded(self) -> None:
        """The model is loaded; training begins."""
        self.loading_seconds = time.perf_counter() - self.started

    def measurements(self, loop: Loop, group: ProcessGroup, engine: str, memory: str) -> TrainingMeasurements:
        """Of a finished loop. `memory`: the estimate before the training, in words."""
        timing, cuda = loop.timing, group.device.type == "cuda"
        step_seconds = max(1e-9, timing.training - timing.validation)
        tokens, rows = loop.gradients.largest_micro_batch
        return TrainingMeasurements(
            device=device_description(group.device),
            processes=group.size,
            engine=engine,
            micro_batch=rows,
            micro_tokens=tokens,
            memory=memory,
            loading_seconds=round(self.loading_seconds, 2),
            compile_seconds=round(timing.warm_up, 2),
            training_seconds=round(timing.training, 2),
            validation_seconds=round(timing.validation, 2),
            tokens_per_second=round(timing.tokens / step_seconds, 1),
            peak_gib=round(torch.cuda.max_memory_allocated() / 2**30, 2) if cuda else None,
            resumed_at=timing.resumed_at or None,
        )

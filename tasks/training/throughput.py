"""What a training took: seconds, tokens a second, memory."""

import time
from typing import Any

import torch

from tasks.models.loading import device_description
from tasks.training.loop import Loop
from tasks.training.process_group import Group


class Clock:
    """Runs from its making."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.loading = 0.0

    def loaded(self) -> None:
        self.loading = time.perf_counter() - self.started

    def measured(self, loop: Loop, group: Group, engine: str, memory: str) -> dict[str, Any]:
        """The manifest's `made.measured`."""
        timing, cuda = loop.timing, group.device.type == "cuda"
        stepping = max(1e-9, timing.training - timing.validation)
        found = {
            "device": device_description(group.device),
            "processes": group.size,
            "engine": engine,
            "micro_batch": loop.gradients.largest[1],
            "micro_tokens": loop.gradients.largest[0],
            "memory": memory,
            "loading_seconds": round(self.loading, 2),
            "compile_seconds": round(timing.warm, 2),
            "training_seconds": round(timing.training, 2),
            "validation_seconds": round(timing.validation, 2),
            "tokens_per_second": round(timing.tokens / stepping, 1),
            "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if cuda else None,
        }
        return found | ({"resumed_at": timing.resumed_at} if timing.resumed_at else {})

"""What a training took: seconds, tokens a second, memory, and the share of the GPU's arithmetic that was used."""

import time
from typing import Any

import torch

from tasks.training.group import Group
from tasks.training.loop import Loop

PEAK_TERAFLOPS = {"H200": 989, "H100": 989, "B200": 2250, "A100": 312, "L40S": 362, "L4": 121, "A10": 125, "4090": 165}
"""bf16 without sparsity, as the makers say; names in the order they are looked for."""


class Clock:
    """Runs from its making."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self.loading = 0.0

    def loaded(self) -> None:
        self.loading = time.perf_counter() - self.started

    def measured(self, loop: Loop, group: Group, base: Any, engine: str, memory: str) -> dict[str, Any]:
        """The manifest's `made.measured`."""
        timing, cuda = loop.timing, group.device.type == "cuda"
        stepping = max(1e-9, timing.training - timing.validation)
        name = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
        found = {
            "device": name,
            "processes": group.size,
            "engine": engine,
            "micro_batch": loop.largest[1],
            "micro_tokens": loop.largest[0],
            "memory": memory,
            "loading_seconds": round(self.loading, 2),
            "compile_seconds": round(timing.warm, 2),
            "training_seconds": round(timing.training, 2),
            "validation_seconds": round(timing.validation, 2),
            "tokens_per_second": round(timing.tokens / stepping, 1),
            "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if cuda else None,
            "mfu": None,
        }
        peak = next((value for key, value in PEAK_TERAFLOPS.items() if key in name), None) if cuda else None
        if peak:
            found["mfu"] = round(
                _flops(base, timing.tokens, timing.labelled) / stepping / (peak * 1e12 * group.size), 4
            )
        return found | ({"resumed_at": timing.resumed_at} if timing.resumed_at else {})


def _flops(base: Any, tokens: int, labelled: int) -> float:
    """Forward, and back to the inputs: the frozen weights have no gradient. The head for labelled tokens alone."""
    head = base.get_output_embeddings().weight.numel()
    linears = sum(
        module.in_features * module.out_features
        for module in base.modules()
        if isinstance(module, torch.nn.Linear) and module is not base.get_output_embeddings()
    )
    return 4.0 * float(linears * tokens + head * labelled)

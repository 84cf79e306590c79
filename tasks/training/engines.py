"""The choice of the engine that trains: the packed one where it supports model and adapter, else TRL."""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from artifacts.check import Check
from artifacts.errors import RequestError
from tasks.config import TrainConfig, TrainSpec
from tasks.training.packed_model import unsupported


@dataclass(frozen=True)
class EngineChoice:
    """An engine, and why it was chosen."""

    name: Literal["packed", "trl"]
    unsupported: str | None
    """What the packed engine does not support of this training."""

    def __str__(self) -> str:
        """`packed`, `trl (dropout)` or `trl (train.engine)`, as manifests have it."""
        return self.name if self.name == "packed" else f"trl ({self.unsupported or 'train.engine'})"

    def check(self) -> Check:
        """It fails if the recipe asks for an engine that cannot train this."""
        if self.name == "trl":
            why = (
                f"the packed engine does not support {self.unsupported}" if self.unsupported else "train.engine is trl"
            )
            return Check("engine", "ok", f"trl, since {why}")
        if self.unsupported:
            remedy = f"does not support {self.unsupported}: set train.engine to auto or trl"
            return Check("engine", "failed", f"train.engine is packed, which {remedy}")
        return Check("engine", "ok", "packed")


def choose_engine(settings: TrainConfig, config: Any, device: torch.device, dtype: torch.dtype) -> EngineChoice:
    """The engine for a model with this configuration of transformers. `dtype`: of matrix products."""
    reason = unsupported(config, settings.lora, device, dtype)
    if settings.engine == "auto":
        return EngineChoice("trl" if reason else "packed", reason)
    return EngineChoice(settings.engine, reason)


def refuse_distillation(spec: TrainSpec, engine: EngineChoice) -> None:
    """RequestError if the recipe distils and another engine than the packed one trains, before anything is trained."""
    if spec.train.distill.samples and (engine.name != "packed" or engine.unsupported):
        raise RequestError(
            f"train.distill.samples is {spec.train.distill.samples}, but only the packed engine distils, and it does "
            f"not train {spec.model.origin} here ({engine.unsupported or 'train.engine'}): set "
            "train.distill.samples=0, or choose a Gemma or Llama model with plain LoRA and train.engine=auto"
        )

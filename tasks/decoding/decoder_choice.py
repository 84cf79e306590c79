"""The choice of what decodes: the project's decoder where it supports model and settings, else transformers."""

from dataclasses import dataclass
from typing import Any, Literal

from artifacts.check import Check
from tasks.config import GenerateConfig

NATIVE_MODEL_TYPES = ("gemma", "llama", "mistral", "qwen2", "qwen3", "smollm3")
"""Model types with causal attention over all earlier tokens in each layer (tests/tasks/decoding/test_decoder.py)."""


@dataclass(frozen=True)
class DecoderChoice:
    """What decodes, and why."""

    name: Literal["decoder", "generate"]
    """The project's decoder, or `generate` of transformers."""
    unsupported: str | None
    """What the decoder does not support."""
    candidates: int = 1
    """generate.candidates, which only the decoder can sample."""

    def __str__(self) -> str:
        """`decoder`, or `generate (architecture gemma2)`."""
        return self.name if self.unsupported is None else f"{self.name} ({self.unsupported})"

    def check(self) -> Check:
        """It fails if the recipe asks for what neither can do."""
        if self.unsupported is None:
            return Check("decoder", "ok", "the project's decoder")
        why = f"the project's decoder does not support {self.unsupported}"
        if self.candidates > 1:
            return Check(
                "decoder", "failed", f"{why}, and generate.candidates is {self.candidates}: set generate.candidates=1"
            )
        return Check("decoder", "ok", f"generate of transformers, since {why}")


def choose_decoder(settings: GenerateConfig, config: Any) -> DecoderChoice:
    """What decodes a model with this configuration of transformers."""
    reason = "beam search" if settings.beams > 1 else unsupported_model(config)
    return DecoderChoice("generate" if reason else "decoder", reason, settings.candidates)


def unsupported_model(config: Any) -> str | None:
    """What `Decoder` does not support of a model with this configuration of transformers; None if it decodes it."""
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if config.model_type not in NATIVE_MODEL_TYPES:
        return f"architecture {config.model_type}"
    if getattr(config, "use_sliding_window", config.model_type == "mistral" and config.sliding_window):
        return "a sliding window of attention"
    # they change with the longest row of the batch
    return f"rotary positions of type {rope}" if rope in ("dynamic", "longrope") else None

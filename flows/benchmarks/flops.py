"""FLOP per token of LoRA training, from the model's shape, and the fraction of a GPU's peak (MFU)."""

import json
from dataclasses import dataclass
from pathlib import Path

MEASURED_PEAK = {"H200": 790.0, "H100": 790.0}
"""Part of a GPU's name -> TFLOP/s measured with bf16 matrix products. For other GPUs give --peak-tflops."""


@dataclass(frozen=True)
class Shape:
    """Shape of a decoder with gated feed-forward layers (Gemma, Llama)."""

    layers: int
    hidden: int
    heads: int
    key_value_heads: int
    head_size: int
    intermediate: int
    vocabulary: int

    @classmethod
    def from_folder(cls, folder: Path) -> "Shape":
        """From the config.json in a model folder."""
        config = json.loads((folder / "config.json").read_text())
        heads = config["num_attention_heads"]
        return cls(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            heads=heads,
            key_value_heads=config.get("num_key_value_heads") or heads,
            head_size=config.get("head_dim") or config["hidden_size"] // heads,
            intermediate=config["intermediate_size"],
            vocabulary=config["vocab_size"],
        )

    @property
    def linears(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of the seven linear layers of a decoder layer."""
        queries, keys = self.heads * self.head_size, self.key_value_heads * self.head_size
        attention = [(self.hidden, queries), (self.hidden, keys), (self.hidden, keys), (queries, self.hidden)]
        return [*attention, *[(self.hidden, self.intermediate)] * 2, (self.intermediate, self.hidden)]


def flop_per_token(shape: Shape, rank: int, labelled: float, context: float) -> float:
    """FLOP per token of LoRA training on completions, without gradient checkpointing.

    Frozen linear layers: forward, and gradient of their inputs (4 per weight). Adapters: the same, and the gradient of
    their weights (6). Head: labelled tokens only, and its logits are recomputed in the backward pass (6). Causal
    attention: half of `context` tokens on average (6 x context x width).

    Args:
        shape: of the base model.
        rank: of the adapters.
        labelled: fraction of the tokens that have a label.
        context: mean length, over tokens, of the row that a token is in.
    """
    weights = shape.layers * sum(inputs * outputs for inputs, outputs in shape.linears)
    adapters = shape.layers * sum(rank * (inputs + outputs) for inputs, outputs in shape.linears)
    head = shape.vocabulary * shape.hidden
    attention = shape.layers * shape.heads * shape.head_size * context
    return 4.0 * weights + 6.0 * adapters + 6.0 * head * labelled + 6.0 * attention


def mfu(tokens_per_second: float, flop: float, peak_tflops: float) -> float:
    """Fraction of the peak that real tokens used. Padding does not count, although the system computes it as well."""
    return tokens_per_second * flop / (peak_tflops * 1e12)


def peak_tflops(device: str, override: float | None) -> float | None:
    """Peak of a device in TFLOP/s; None if it was not measured and is not given."""
    return override or next((peak for name, peak in MEASURED_PEAK.items() if name in device), None)

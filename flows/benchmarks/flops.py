"""How much arithmetic a token of LoRA training is, from the model's shape, and what share of a GPU's that makes (MFU)."""

import json
from dataclasses import dataclass
from pathlib import Path

MEASURED_PEAK = {"H200": 790.0, "H100": 790.0}
"""bf16 matrix products in TFLOP/s as measured on such cards, by a part of the card's name; others: --peak-tflops."""


@dataclass(frozen=True)
class Shape:
    """Numbers of a decoder with gated feed-forward layers (Gemma, Llama)."""

    layers: int
    hidden: int
    heads: int
    key_value_heads: int
    head_size: int
    intermediate: int
    vocabulary: int

    @classmethod
    def of(cls, folder: Path) -> "Shape":
        """From the config.json of a model folder."""
        found = json.loads((folder / "config.json").read_text())
        heads = found["num_attention_heads"]
        return cls(
            layers=found["num_hidden_layers"], hidden=found["hidden_size"], heads=heads,
            key_value_heads=found.get("num_key_value_heads") or heads,
            head_size=found.get("head_dim") or found["hidden_size"] // heads,
            intermediate=found["intermediate_size"], vocabulary=found["vocab_size"],
        )  # fmt: skip

    @property
    def linears(self) -> list[tuple[int, int]]:
        """(in, out) of the seven linears of a layer."""
        queries, keys = self.heads * self.head_size, self.key_value_heads * self.head_size
        attention = [(self.hidden, queries), (self.hidden, keys), (self.hidden, keys), (queries, self.hidden)]
        return [*attention, *[(self.hidden, self.intermediate)] * 2, (self.intermediate, self.hidden)]


def per_token(shape: Shape, rank: int, labelled: float, context: float) -> float:
    """FLOP a token of LoRA training on completions, no checkpointing.

    Frozen linears forward and back to their inputs (4 each weight); adapters the same and their own gradient (6); the
    head for labelled tokens alone, its logits computed again on the way back (6); causal attention over on average half
    of `context` tokens (6 x context x width). `labelled`: share of the tokens; `context`: row length a token sees, mean.
    """
    weights = shape.layers * sum(i * o for i, o in shape.linears)
    adapters = shape.layers * sum(rank * (i + o) for i, o in shape.linears)
    head = shape.vocabulary * shape.hidden
    attention = shape.layers * shape.heads * shape.head_size * context
    return 4.0 * weights + 6.0 * adapters + 6.0 * head * labelled + 6.0 * attention


def mfu(tokens_per_second: float, flop: float, peak_tflops: float) -> float:
    """Share of the peak that real tokens used, whatever else the system computed beside them."""
    return tokens_per_second * flop / (peak_tflops * 1e12)


def peak_of(device: str, given: float | None) -> float | None:
    """TFLOP/s of a device, or None where nobody measured it."""
    return given or next((peak for name, peak in MEASURED_PEAK.items() if name in device), None)

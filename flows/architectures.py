"""Base models whose architectures the project is tested with: their published shapes, and which engines take them."""

from dataclasses import dataclass
from typing import Any

from artifacts.record import Record


@dataclass(frozen=True)
class Architecture:
    """A base model without weights."""

    base: str
    """Hub id."""
    model_type: str
    """As in its config.json."""
    shape: dict[str, Any]
    """Settings of its configuration of transformers that differ from the defaults of the class."""

    def config(self, **settings: Any) -> Any:
        """The configuration of transformers, with other settings if any are given."""
        from transformers import AutoConfig

        return AutoConfig.for_model(self.model_type, **self.shape | settings)


LLAMA3_POSITIONS = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def _shape(vocabulary: int, hidden: int, mlp: int, layers: int, heads: int, key_heads: int, **more: Any) -> Any:
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": mlp,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "tie_word_embeddings": True,
        **more,
    }


ARCHITECTURES = {
    "gemma-2b": Architecture(
        "google/gemma-2b",
        "gemma",
        _shape(256000, 2048, 16384, 18, 8, 1, head_dim=256, max_position_embeddings=8192),
    ),
    "gemma-2-2b": Architecture(
        "google/gemma-2-2b-it",
        "gemma2",
        _shape(256000, 2304, 9216, 26, 8, 4, head_dim=256, max_position_embeddings=8192),
    ),
    "gemma-3-1b": Architecture(
        "google/gemma-3-1b-it",
        "gemma3_text",
        _shape(262144, 1152, 6912, 26, 4, 1, head_dim=256, max_position_embeddings=32768, sliding_window=512),
    ),
    "llama-3.2-1b": Architecture(
        "meta-llama/Llama-3.2-1B-Instruct",
        "llama",
        _shape(
            *(128256, 2048, 8192, 16, 32, 8),
            head_dim=64,
            max_position_embeddings=131072,
            rope_parameters=LLAMA3_POSITIONS,
        ),
    ),
    "qwen3-0.6b": Architecture(
        "Qwen/Qwen3-0.6B", "qwen3", _shape(151936, 1024, 3072, 28, 16, 8, head_dim=128, max_position_embeddings=40960)
    ),
    "smollm2-360m": Architecture(
        "HuggingFaceTB/SmolLM2-360M-Instruct",
        "llama",
        _shape(49152, 960, 2560, 32, 15, 5, max_position_embeddings=8192),
    ),
    "smollm2-1.7b": Architecture(
        "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        "llama",
        _shape(49152, 2048, 8192, 24, 32, 32, max_position_embeddings=8192),
    ),
    "smollm3-3b": Architecture(
        "HuggingFaceTB/SmolLM3-3B",
        "smollm3",
        _shape(128256, 2048, 11008, 36, 16, 4, max_position_embeddings=65536),
    ),
}
"""Recipe -> its base model. Shapes as published in each model's config.json."""
TINY = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 2048,
}
"""Settings that make every architecture tiny, with each kind of layer that it has; the vocabulary is a tokenizer's."""


class EngineRow(Record):
    """What trains and what decodes a base model."""

    recipe: str
    base: str
    architecture: str
    parameters: int
    trains: str
    """`packed`, or `trl` with what the packed engine does not support."""
    decodes: str
    """`decoder`, or `generate` with what the decoder does not support."""


def engine_rows() -> list[EngineRow]:
    """A row for each base model, by the functions that choose the engines in a run, with default settings.

    The choice is that on a CPU and on a GPU with flash attention in torch (compute capability 8 or more).
    """
    import torch
    from transformers import AutoModelForCausalLM

    from tasks.config import GenerateConfig, TrainConfig
    from tasks.decoding.decoder_choice import choose_decoder
    from tasks.training.engines import choose_engine

    rows = []
    for recipe, architecture in ARCHITECTURES.items():
        config = architecture.config()
        with torch.device("meta"):  # shapes without weights
            parameters = AutoModelForCausalLM.from_config(config).num_parameters()
        engine = choose_engine(TrainConfig(), config, torch.device("cpu"), torch.bfloat16)
        rows.append(
            EngineRow(
                recipe=recipe,
                base=architecture.base,
                architecture=architecture.model_type,
                parameters=parameters,
                trains=str(engine),
                decodes=str(choose_decoder(GenerateConfig(), config)),
            )
        )
    return rows

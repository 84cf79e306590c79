"""Tiny random models of every architecture that is written as GGUF, with settings that a wrong conversion shows."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    Qwen2Config,
    Qwen3Config,
)

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
CONFIGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "llama": (LlamaConfig, {}),
    "llama3": (
        LlamaConfig,
        {"attention_bias": True}
        | {"rope_parameters": LLAMA3 | {"rope_theta": 10000.0, "original_max_position_embeddings": 32}},
    ),
    "linear": (
        LlamaConfig,
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}, "tie_word_embeddings": True},
    ),
    "qwen2": (Qwen2Config, {"head_dim": None}),
    "qwen3": (Qwen3Config, {"head_dim": 128}),
    "gemma": (GemmaConfig, {}),
    "gemma2": (Gemma2Config, {"head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 16}),
    "gemma3": (Gemma3TextConfig, {"head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 16}),
}
READ_BY_TRANSFORMERS = ("llama", "qwen2", "qwen3", "gemma2", "gemma3")
"""Those whose GGUF files transformers reads with every setting; it ignores biases and scaled rotary embeddings."""


def tiny_model(name: str, tokenizer_folder: Path) -> tuple[Any, Any]:
    """A model in float32 and its tokenizer; the embeddings have three rows more than there are tokens."""
    tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_folder)
    config_class, settings = CONFIGS[name]
    shape = {
        "vocab_size": len(tokenizer) + 3,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 6,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
        "max_position_embeddings": 2048,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    } | settings
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config_class(**{k: v for k, v in shape.items() if v is not None}))
    for key, parameter in model.named_parameters():
        if "norm" in key or "bias" in key:
            torch.nn.init.normal_(parameter.data, mean=0.1, std=0.3)
        else:
            parameter.data *= 3
    return model.float().eval(), tokenizer

"""How GGUF files name and store the weights of the architectures that llama.cpp runs and this project converts.

Source: llama.cpp's `conversion` (llama.py, qwen.py, gemma.py) and, for names, the tables of the package gguf.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, GGUFWriter, RopeScalingType, TensorNameMap, get_tensor_name_map

from artifacts.errors import RequestError
from tasks.models.loading import head_size


@dataclass(frozen=True)
class Architecture:
    """One architecture of llama.cpp."""

    key: MODEL_ARCH
    permuted: bool = False
    """Whether llama.cpp rotates neighbouring rows of q and k where transformers rotates the halves of a head."""
    norm_offset: int = 0
    """What llama.cpp adds to the weights of norms in the file and transformers in the forward pass."""
    tied: bool = False
    """Whether llama.cpp always computes logits with the embeddings."""
    window_every: int = 0
    """Every how many layers llama.cpp attends to all positions, in the others to a sliding window; 0: in all layers."""
    layers_of_27b: int = 0
    """Layers of the one size whose attention llama.cpp scales by hidden_size / num_attention_heads."""

    @property
    def name(self) -> str:
        """`general.architecture` of the file."""
        return MODEL_ARCH_NAMES[self.key]


ARCHITECTURES = {
    "llama": Architecture(MODEL_ARCH.LLAMA, permuted=True),
    "mistral": Architecture(MODEL_ARCH.LLAMA, permuted=True),
    "qwen2": Architecture(MODEL_ARCH.QWEN2),
    "qwen3": Architecture(MODEL_ARCH.QWEN3),
    "gemma": Architecture(MODEL_ARCH.GEMMA, norm_offset=1, tied=True),
    "gemma2": Architecture(MODEL_ARCH.GEMMA2, norm_offset=1, tied=True, window_every=2, layers_of_27b=46),
    "gemma3_text": Architecture(MODEL_ARCH.GEMMA3, norm_offset=1, window_every=6, layers_of_27b=62),
}
"""`model_type` of transformers -> architecture."""


def architecture_of(config: Any) -> Architecture:
    """The architecture of a model's config. RequestError if llama.cpp would compute something else, or nothing."""
    known = ARCHITECTURES.get(config.model_type)
    if known is None:
        raise RequestError(
            f"the architecture {config.model_type} is none of those that this project writes as GGUF "
            f"({', '.join(ARCHITECTURES)}): export with --merged and convert the folder with llama.cpp's own script"
        )
    if difference := next(_differences(config, known), None):
        raise RequestError(f"llama.cpp computes {known.name} {difference}: export with --merged instead")
    return known


def _differences(config: Any, known: Architecture) -> Iterator[str]:
    """What of a config llama.cpp cannot represent, each as the end of a sentence."""
    kinds = {str(rope.get("rope_type", "default")) for rope in _ropes(config).values()}
    supported = {"default", "linear"} | ({"llama3"} if known.key == MODEL_ARCH.LLAMA else set())
    if kinds - supported:
        yield f"with other rotary embeddings than {', '.join(sorted(kinds - supported))}"
    if known.tied and not config.tie_word_embeddings:
        yield "with tied embeddings only"
    layers = config.num_hidden_layers
    if known.window_every:
        everywhere = [i for i, kind in enumerate(config.layer_types) if kind == "full_attention"]
        if everywhere != list(range(known.window_every - 1, layers, known.window_every)):
            yield f"with a sliding window in all but every {known.window_every}th layer"
        ratio = config.hidden_size // config.num_attention_heads
        if config.query_pre_attn_scalar != (ratio if layers == known.layers_of_27b else head_size(config)):
            yield "with another scale of attention than query_pre_attn_scalar"
    elif getattr(config, "sliding_window", None) is not None:
        yield "without a sliding window"
    if known.key == MODEL_ARCH.GEMMA2 and config.attn_logit_softcapping is None:
        yield "with softcapping only"


def _ropes(config: Any) -> dict[str, dict[str, Any]]:
    """Rotary embeddings by kind of layer, `full_attention` always among them."""
    ropes = config.rope_parameters
    return ropes if "full_attention" in ropes else {"full_attention": ropes}


def write_hyperparameters(writer: GGUFWriter, config: Any, known: Architecture) -> None:
    """Add the shape of the model to the metadata."""
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    size = head_size(config)
    writer.add_rope_dimension_count(size)
    writer.add_key_length(size)
    writer.add_value_length(size)
    ropes = _ropes(config)
    writer.add_rope_freq_base(ropes["full_attention"]["rope_theta"])
    if "sliding_attention" in ropes:
        writer.add_rope_freq_base_swa(ropes["sliding_attention"]["rope_theta"])
    if ropes["full_attention"].get("rope_type") == "linear":
        writer.add_rope_scaling_type(RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(ropes["full_attention"]["factor"])
    if known.window_every:
        writer.add_sliding_window(config.sliding_window)
        if config.attn_logit_softcapping is not None:
            writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
        if config.final_logit_softcapping is not None:
            writer.add_final_logit_softcapping(config.final_logit_softcapping)


def name_map(config: Any, known: Architecture) -> TensorNameMap:
    """Names of transformers -> names of GGUF, of all layers."""
    return get_tensor_name_map(known.key, config.num_hidden_layers)


def gguf_name(names: TensorNameMap, name: str) -> str:
    """The name of one tensor. RequestError if the architecture has no such tensor in llama.cpp."""
    found = names.get_name(name, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise RequestError(f"llama.cpp has no place for the weights {name}: export with --merged instead")
    return found


def permuted(rows: torch.Tensor, name: str, config: Any, known: Architecture) -> torch.Tensor:
    """A weight, a bias or a LoRA's B of q or k, with its rows in llama.cpp's order; any other unchanged."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if not known.permuted or heads is None:
        return rows
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def gguf_tensors(model: Any, known: Architecture) -> Iterator[tuple[str, torch.Tensor]]:
    """Names and values of a model's weights as GGUF stores them, in the model's own dtype."""
    config, names = model.config, name_map(model.config, known)
    rope = _ropes(config)["full_attention"]
    if rope.get("rope_type") == "llama3":
        size = head_size(config)
        plain = rope["rope_theta"] ** -(torch.arange(0, size, 2, dtype=torch.float32) / size)
        yield "rope_freqs.weight", plain / model.model.rotary_emb.inv_freq.float()
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        offset = known.norm_offset if name.endswith("norm.weight") else 0
        yield (
            gguf_name(names, name),
            permuted(tensor, name, config, known) + offset if offset else permuted(tensor, name, config, known),
        )

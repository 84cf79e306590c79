"""Forward passes of a decoder's model over tokens whose keys and values go to a KV cache.

Gemma and Llama are computed with the fused operations of training, other models by their modules in transformers.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tasks.decoding.kv_cache import ATTENTION_NAME, KVCache, register_attention
from tasks.models.decoder_layers import linear_groups, norm_weight, stack_weights, unsupported_layers
from tasks.models.fused_ops import FusedOps
from tasks.models.loading import head_size

Forward = Callable[[Tensor, Tensor, KVCache], Tensor]
"""Token ids [T], their positions [T], cache -> normalized output of the last layer [T, d]."""


def forward_of(model: Any) -> Forward:
    """The forward pass of a causal model of transformers."""
    return ModuleForward(model) if unsupported_layers(model.config) else FusedForward(model)


class ModuleForward:
    """The modules of transformers, with the cache's attention in the place of theirs."""

    def __init__(self, model: Any) -> None:
        register_attention()
        self.model = model

    def __call__(self, ids: Tensor, positions: Tensor, cache: KVCache) -> Tensor:
        previous = self.model.config._attn_implementation
        self.model.set_attn_implementation(ATTENTION_NAME)
        try:
            states: Tensor = self.model.base_model(
                input_ids=ids[None], position_ids=positions[None], use_cache=False, kv_cache=cache
            ).last_hidden_state
        finally:
            self.model.set_attn_implementation(previous)
        return states[0]


class FusedLayer:
    """One layer's matrices, stacked where they share an input, and its norms' weights in fp32."""

    def __init__(self, module: Any, model_type: str) -> None:
        self.qkv, self.o, self.gate_up, self.down = map(stack_weights, linear_groups(module))
        self.norm_in = norm_weight(module.input_layernorm, model_type)
        self.norm_mid = norm_weight(module.post_attention_layernorm, model_type)


class FusedForward:
    """The layers that Gemma and Llama share, by fused operations. The model's modules remain usable."""

    def __init__(self, model: Any) -> None:
        config, self.body = model.config, model.model
        size = head_size(config)
        self.scaling = size**-0.5
        self.layers = [FusedLayer(layer, config.model_type) for layer in self.body.layers]
        self.norm_out = norm_weight(self.body.norm, config.model_type)
        heads = (config.num_attention_heads, config.num_key_value_heads, size)
        self.ops = FusedOps.build(config.hidden_act, config.rms_norm_eps, heads, model.dtype, model.device, 0.0)

    def __call__(self, ids: Tensor, positions: Tensor, cache: KVCache) -> Tensor:
        delta = self.body.embed_tokens(ids)
        stream = torch.zeros_like(delta)
        angles = [table[0] for table in self.body.rotary_emb(stream, positions[None])]
        for index, layer in enumerate(self.layers):
            stream, normed = self.ops.add_norm(stream, delta, layer.norm_in)
            query, keys_values = self.ops.rotate_for_cache(F.linear(normed, layer.qkv), *angles)
            attended = cache.attention(index, query, keys_values, self.scaling)
            stream, normed = self.ops.add_norm(stream, F.linear(attended.flatten(1), layer.o), layer.norm_mid)
            delta = F.linear(self.ops.gated_activation(F.linear(normed, layer.gate_up)), layer.down)
        states: Tensor = self.ops.add_norm(stream, delta, self.norm_out)[1]
        return states

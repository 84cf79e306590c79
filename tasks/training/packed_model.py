"""Gemma and Llama for LoRA training on packed rows: no padding, fused operations, no gradient checkpointing.

It computes what transformers and peft compute (tests/tasks/training/test_packed_model.py), with the parameters of their
modules, which remain usable. What it does not support is trained by TRL (tasks/training/trl_loop.py).
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from tasks.config import SEVEN_LINEARS, LoraConfig
from tasks.models.decoder_layers import linear_groups, norm_weight, unsupported_layers
from tasks.models.fused_ops import FusedOps
from tasks.models.loading import flash_attention, head_size
from tasks.training.attention import packed_attention
from tasks.training.flat_adapter import FlatAdapter
from tasks.training.layers import AddNorm, GatedMlp, HeadLoss, Linear, Rotate
from tasks.training.lora_linear import LoraLinearGroup, adapter_order
from tasks.training.packing import Pack

MAX_LOGITS = {"cuda": 1 << 29, "cpu": 1 << 25}
"""Logits that exist at once: 1 GiB of bf16 on a GPU, 2,048 rows of Gemma's vocabulary."""


def unsupported(config: Any, lora: LoraConfig, device: torch.device, dtype: torch.dtype) -> str | None:
    """What `PackedModel` does not support of a model with this configuration of transformers; None if it trains it.

    `dtype`: of products.
    """
    if reason := unsupported_layers(config):
        return reason
    reasons = {
        "dropout": bool(lora.dropout or config.attention_dropout),
        "DoRA": lora.dora,
        "adapters of other layers": not {name.split(".")[-1] for name in lora.targets} <= set(SEVEN_LINEARS),
        "a GPU without flash attention": device.type == "cuda" and not flash_attention(config, device, dtype),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


class Layer:
    """One layer's groups of linears, and its norms' weights in fp32."""

    def __init__(self, module: Any, adapter: FlatAdapter, dtype: torch.dtype, model_type: str) -> None:
        groups = (LoraLinearGroup(linears, adapter, dtype) for linears in linear_groups(module))
        self.qkv, self.o, self.gate_up, self.down = groups
        self.norm_in = norm_weight(module.input_layernorm, model_type)
        self.norm_mid = norm_weight(module.post_attention_layernorm, model_type)


class PackedModel:
    """Computes the losses of a pack; `backward` through them adds the gradients to `adapter.grads`."""

    def __init__(self, model: Any, dtype: torch.dtype, smoothing: float = 0.0) -> None:
        """`model`: a peft model for which `unsupported` is None. `dtype`: of products. `smoothing`: of labels.

        The frozen linears are cast to `dtype` in place. The residual stream has the dtype of the embedding.
        """
        causal = model.get_base_model()
        config, self.body = causal.config, causal.model
        self.dtype, self.device = dtype, self.body.embed_tokens.weight.device
        parameters = adapter_order([linears for layer in self.body.layers for linears in linear_groups(layer)])
        self.adapter = FlatAdapter(parameters, dtype)
        self.layers = [Layer(layer, self.adapter, dtype, config.model_type) for layer in self.body.layers]
        self.adapter.refresh()
        self.norm_out = norm_weight(self.body.norm, config.model_type)
        self.head = causal.get_output_embeddings().weight.data.to(dtype)
        self.vocabulary = len(self.head)
        heads = (config.num_attention_heads, config.num_key_value_heads, head_size(config))
        self.max_logits = MAX_LOGITS[self.device.type]
        self.ops = FusedOps.build(config.hidden_act, config.rms_norm_eps, heads, dtype, self.device, smoothing)

    @property
    def layer_weights(self) -> int:
        """Numbers in one layer's frozen matrices."""
        layer = self.layers[0]
        weights = [group.weight for group in (layer.qkv, layer.o, layer.gate_up, layer.down)]
        return sum(weight.in_features * sum(weight.out_sizes) for weight in weights)

    def select_warm_up(self, packs: Sequence[Sequence[int]]) -> list[int]:
        """No pack: nothing is captured."""
        return []

    def loss(self, pack: Pack) -> torch.Tensor:
        """Sum over the labelled tokens, fp32. `pack` is on the model's device."""
        return self.token_losses(pack).sum()

    def token_losses(self, pack: Pack) -> torch.Tensor:
        """Cross-entropy of each labelled token [L], fp32. `pack` is on the model's device."""
        hidden = F.embedding(pack.target_positions, self.hidden_states(self.embed(pack), pack))
        losses: torch.Tensor = HeadLoss.apply(hidden, self.head, pack.labels[:, None], self.max_logits, self.ops)
        return losses

    def embed(self, pack: Pack) -> torch.Tensor:
        """Embeddings of the pack's tokens [T, d]."""
        embeddings: torch.Tensor = self.body.embed_tokens(pack.ids[None])[0].detach()
        return embeddings.requires_grad_(torch.is_grad_enabled())  # or autograd would record nothing after it

    def hidden_states(self, delta: torch.Tensor, pack: Pack) -> torch.Tensor:
        """Embeddings [T, d] -> normalized output of the last layer [T, d], the input of the head."""
        stream = torch.zeros_like(delta)
        angles = [table[0] for table in self.body.rotary_emb(stream, pack.positions[None])]
        for layer in self.layers:
            stream, normed = AddNorm.apply(stream, delta, layer.norm_in, self.ops)
            q, k, v = Rotate.apply(Linear.apply(normed, layer.qkv), *angles, self.ops)
            delta = Linear.apply(packed_attention(q, k, v, pack).flatten(1), layer.o)
            stream, normed = AddNorm.apply(stream, delta, layer.norm_mid, self.ops)
            delta = GatedMlp.apply(normed, layer.gate_up, layer.down, self.ops)
        states: torch.Tensor = AddNorm.apply(stream, delta, self.norm_out, self.ops)[1]
        return states

"""Gemma's and Llama's decoder for training LoRA: rows without padding, fused between the products, no gradient checkpointing.

It computes what transformers and peft compute (tests/tasks/training/test_packed_model.py) with the parameters of their modules, which go on
working beside it. Other architectures train through those modules themselves (tasks/training/padded_model.py).
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from tasks.config import SEVEN_LINEARS
from tasks.models.loading import flash_attention, head_size
from tasks.training.attention import attend
from tasks.training.flat_adapter import FlatAdapter
from tasks.training.fused_ops import ACTIVATIONS, Pointwise
from tasks.training.layers import AddNorm, GatedMlp, HeadLoss, Linear, Rotate
from tasks.training.lora_linear import Site, adapter_order
from tasks.training.packing import Pack

NORM_OFFSET = {"gemma": 1.0, "llama": 0.0}
"""What is added to a norm's weight, by architecture."""
LOGITS_AT_ONCE = {"cuda": 1 << 29, "cpu": 1 << 25}
"""Logits held together: 1 GiB of bf16 on a GPU, 2,048 rows of Gemma's vocabulary."""


def unsupported(model: Any, dtype: torch.dtype) -> str | None:
    """Why this peft model cannot be trained by `Decoder` with products in `dtype`; None if it can."""
    config, lora, device = model.get_base_model().config, model.peft_config["default"], model.device
    reasons = {
        f"architecture {config.model_type}": config.model_type not in NORM_OFFSET,
        f"activation {config.hidden_act}": config.hidden_act not in ACTIVATIONS,
        "biases": getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False),
        "dropout": bool(lora.lora_dropout or config.attention_dropout),
        "another kind of adapter": lora.use_dora or lora.bias != "none" or bool(lora.modules_to_save),
        "a GPU without flash attention": device.type == "cuda" and not flash_attention(config, device, dtype),
        "attention in both directions": bool(getattr(config, "use_bidirectional_attention", False)),
    }
    trained = {name.split(".")[-4] for name, p in model.named_parameters() if p.requires_grad and "lora_" in name}
    reasons["adapters elsewhere"] = not trained <= set(SEVEN_LINEARS)
    return next((reason for reason, holds in reasons.items() if holds), None)


class Layer:
    """One layer's sites, and its norms' weights in fp32."""

    def __init__(self, module: Any, adapter: FlatAdapter, dtype: torch.dtype, offset: float) -> None:
        self.qkv, self.o, self.into, self.out = (Site(site, adapter, dtype) for site in sites_of(module))
        self.norm_in = module.input_layernorm.weight.data.float() + offset
        self.norm_mid = module.post_attention_layernorm.weight.data.float() + offset


def sites_of(layer: Any) -> list[list[Any]]:
    """The linears of a transformers layer, those that share an input together."""
    attention, mlp = layer.self_attn, layer.mlp
    return [
        [attention.q_proj, attention.k_proj, attention.v_proj],
        [attention.o_proj],
        [mlp.gate_proj, mlp.up_proj],
        [mlp.down_proj],
    ]


class Decoder:
    """Computes the loss of a pack; `backward` on it adds the gradients to `adapter.grads`."""

    def __init__(self, model: Any, dtype: torch.dtype, smoothing: float = 0.0) -> None:
        """`model`: a peft model for which `unsupported` is None. `dtype`: of products. `smoothing`: of labels.

        The frozen linears are cast to `dtype` in place. The residual stream has the dtype of the embedding.
        """
        causal = model.get_base_model()
        config, self.body = causal.config, causal.model
        self.dtype, self.device = dtype, self.body.embed_tokens.weight.device
        parameters = adapter_order([site for layer in self.body.layers for site in sites_of(layer)])
        self.adapter = FlatAdapter(parameters, dtype)
        offset = NORM_OFFSET[config.model_type]
        self.layers = [Layer(layer, self.adapter, dtype, offset) for layer in self.body.layers]
        self.adapter.refresh()
        self.norm_out = self.body.norm.weight.data.float() + offset
        self.head = causal.get_output_embeddings().weight.data.to(dtype)
        self.vocabulary = len(self.head)
        heads = (config.num_attention_heads, config.num_key_value_heads, head_size(config))
        self.most_logits = LOGITS_AT_ONCE[self.device.type]
        self.math = Pointwise.of(config.hidden_act, config.rms_norm_eps, heads, dtype, self.device, smoothing)

    @property
    def layer_weights(self) -> int:
        """Numbers in one layer's frozen matrices."""
        layer = self.layers[0]
        return sum(site.weight.columns * sum(site.weight.sizes) for site in (layer.qkv, layer.o, layer.into, layer.out))

    def prepare(self, packs: Sequence[Sequence[int]]) -> list[int]:
        """Nothing to prepare."""
        return []

    def loss(self, pack: Pack) -> torch.Tensor:
        """Sum over the labelled tokens, fp32. `pack` is on the model's device."""
        hidden = F.embedding(pack.picked, self.states(self.embedded(pack), pack))
        loss: torch.Tensor = HeadLoss.apply(hidden, self.head, pack.labels[:, None], self.most_logits, self.math)
        return loss

    def embedded(self, pack: Pack) -> torch.Tensor:
        """[T, d]."""
        found: torch.Tensor = self.body.embed_tokens(pack.ids[None])[0].detach()
        return found.requires_grad_(torch.is_grad_enabled())  # or nothing after it would be recorded

    def states(self, delta: torch.Tensor, pack: Pack) -> torch.Tensor:
        """[T, d], what the head reads."""
        stream = torch.zeros_like(delta)
        angles = [table[0] for table in self.body.rotary_emb(stream, pack.positions[None])]
        for layer in self.layers:
            stream, normed = AddNorm.apply(stream, delta, layer.norm_in, self.math)
            q, k, v = Rotate.apply(Linear.apply(normed, layer.qkv), *angles, self.math)
            delta = Linear.apply(attend(q, k, v, pack).flatten(1), layer.o)
            stream, normed = AddNorm.apply(stream, delta, layer.norm_mid, self.math)
            delta = GatedMlp.apply(normed, layer.into, layer.out, self.math)
        states: torch.Tensor = AddNorm.apply(stream, delta, self.norm_out, self.math)[1]
        return states

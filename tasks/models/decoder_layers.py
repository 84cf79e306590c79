"""The layers that Gemma and Llama share: which models have them, and their linears and norms as they are computed."""

import itertools
from collections.abc import Sequence
from typing import Any

import torch

from tasks.models.fused_ops import ACTIVATIONS

NORM_OFFSET = {"gemma": 1.0, "llama": 0.0}
"""What the architecture adds to a norm's weight."""


def unsupported_layers(config: Any) -> str | None:
    """What a model with this configuration of transformers has in its layers that these lack; None if it has these."""
    activation = getattr(config, "hidden_act", None)
    reasons = {
        f"architecture {config.model_type}": config.model_type not in NORM_OFFSET,
        f"activation {activation}": activation not in ACTIVATIONS,
        "biases": bool(getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False)),
        "attention in both directions": bool(getattr(config, "use_bidirectional_attention", False)),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def linear_groups(layer: Any) -> list[list[Any]]:
    """The linears of a layer of transformers, grouped by their input."""
    attention, mlp = layer.self_attn, layer.mlp
    return [
        [attention.q_proj, attention.k_proj, attention.v_proj],
        [attention.o_proj],
        [mlp.gate_proj, mlp.up_proj],
        [mlp.down_proj],
    ]


def norm_weight(norm: Any, model_type: str) -> torch.Tensor:
    """[d] what a norm multiplies by, in fp32."""
    weight: torch.Tensor = norm.weight.data.float() + NORM_OFFSET[model_type]
    return weight


def stack_weights(linears: Sequence[torch.nn.Linear]) -> torch.Tensor:
    """[out, in] the weights of linears that share an input. They remain usable, as views of the stack.

    If they are views of a stack already, this is that one: decoders of one model share their matrices.
    """
    weights = [linear.weight.data for linear in linears]
    if stacked(weights):
        return weights[0].as_strided((sum(map(len, weights)), weights[0].shape[1]), (weights[0].shape[1], 1))
    stack = torch.cat(weights)
    for linear, rows in zip(linears, stack.split([linear.out_features for linear in linears]), strict=True):
        linear.weight.data = rows
    return stack


def stacked(matrices: Sequence[torch.Tensor]) -> bool:
    """Whether each matrix begins in memory where the one before it ends."""
    first = matrices[0]
    ends = itertools.accumulate((matrix.numel() for matrix in matrices), initial=first.storage_offset())
    return all(
        matrix.is_contiguous()
        and matrix.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        and matrix.storage_offset() == end
        for matrix, end in zip(matrices, ends, strict=False)
    )

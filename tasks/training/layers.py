"""The parts of a decoder layer as autograd functions, which choose what is kept for the backward pass.

Kept per token and layer, with the model's width d and the MLP's width m: 4 d of norms and streams, about 2 d around
attention, 2 m of gate and up projection. Neither the product inside of the MLP nor any cast copy is kept.
"""

from typing import Any

import torch
from torch.autograd import Function

from tasks.models.fused_ops import FusedOps
from tasks.training.lora_linear import LoraLinearGroup


class AddNorm(Function):
    """(stream, delta) -> (stream + delta, norm of the sum)."""

    @staticmethod
    def forward(ctx: Any, stream: Any, delta: Any, weight: Any, ops: FusedOps) -> Any:
        total, normed = ops.add_norm(stream, delta, weight)
        ctx.save_for_backward(total, weight)
        ctx.ops = ops
        return total, normed

    @staticmethod
    def backward(ctx: Any, grad_total: Any, grad_normed: Any) -> Any:
        return *ctx.ops.add_norm_backward(grad_total, grad_normed, *ctx.saved_tensors), None, None


class Linear(Function):
    """[T, in] -> [T, out] through a group of linears."""

    @staticmethod
    def forward(ctx: Any, x: Any, group: LoraLinearGroup) -> Any:
        y, lora_hidden = group.forward(x)
        ctx.save_for_backward(x, lora_hidden)
        ctx.group = group
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, lora_hidden = ctx.saved_tensors
        grad_x, grad_hidden = ctx.group.input_gradient(grad)
        ctx.group.add_gradients(grad, grad_hidden, x, lora_hidden)
        return grad_x, None


class Rotate(Function):
    """Joint projection [T, (heads + 2 key heads) size] -> q, k with rotary positions, v."""

    @staticmethod
    def forward(ctx: Any, joint: Any, cos: Any, sin: Any, ops: FusedOps) -> Any:
        ctx.save_for_backward(cos, sin)
        ctx.ops = ops
        return ops.rotate(joint, cos, sin)

    @staticmethod
    def backward(ctx: Any, q: Any, k: Any, v: Any) -> Any:
        return ctx.ops.rotate_backward(q, k, v, *ctx.saved_tensors), None, None, None


class GatedMlp(Function):
    """[T, d] -> [T, d] through the gate, up and down projections."""

    @staticmethod
    def forward(ctx: Any, x: Any, gate_up: LoraLinearGroup, down: LoraLinearGroup, ops: FusedOps) -> Any:
        gate_and_up, up_hidden = gate_up.forward(x)
        y, down_hidden = down.forward(ops.gated_activation(gate_and_up))
        ctx.save_for_backward(x, up_hidden, gate_and_up, down_hidden)
        ctx.groups, ctx.ops = (gate_up, down), ops
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, up_hidden, gate_and_up, down_hidden = ctx.saved_tensors
        gate_up, down = ctx.groups
        grad_product, grad_hidden = down.input_gradient(grad)
        grad_gate_and_up, product = ctx.ops.gated_activation_backward(grad_product, gate_and_up)
        down.add_gradients(grad, grad_hidden, product, down_hidden)
        grad_x, grad_hidden = gate_up.input_gradient(grad_gate_and_up)
        gate_up.add_gradients(grad_gate_and_up, grad_hidden, x, up_hidden)
        return grad_x, None, None, None


def head_losses(
    hidden: torch.Tensor,
    head: torch.Tensor,
    labels: torch.Tensor,
    max_logits: int,
    ops: FusedOps,
    with_gradient: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The losses [L], and the gradient of each [L, d] if requested; in that case labels are smoothed."""
    loss = ops.smoothed_cross_entropy if with_gradient else ops.cross_entropy
    losses = torch.empty(len(hidden), device=hidden.device)
    gradient = torch.empty_like(hidden)
    rows = max(1, max_logits // head.shape[0])
    parts = (x.split(rows) for x in (hidden, labels, losses, gradient))
    for part, target, loss_slot, gradient_slot in zip(*parts, strict=True):
        part_losses, grad = loss(part @ head.t(), target)
        loss_slot.copy_(part_losses[:, 0])
        if with_gradient:
            torch.mm(grad, head, out=gradient_slot)
    return losses, gradient


def weighted(gradient: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The gradient of each loss [L, d] times the weights [L] of the losses."""
    return gradient * weights[:, None].to(gradient.dtype)


class HeadLoss(Function):
    """Hidden states [L, d], head [vocabulary, d] and labels [L, 1] -> their losses [L], fp32.

    The gradients are computed together with the losses, a slice of rows at a time: logits are computed once, and those
    of all rows never exist together.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Any, head: Any, labels: Any, max_logits: int, ops: FusedOps) -> Any:
        losses, gradient = head_losses(hidden, head, labels, max_logits, ops, ctx.needs_input_grad[0])
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return weighted(ctx.saved_tensors[0], grad), None, None, None, None

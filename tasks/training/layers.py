"""The pieces of a decoder layer as autograd functions: what each keeps for the backward pass is chosen here.

Kept per token and layer, d the model's width and m the MLP's: 4 d of norms and streams, about 2 d around attention,
2 m of gate and up. Neither the MLP's product nor any cast copy is kept.
"""

from typing import Any

import torch
from torch.autograd import Function

from tasks.training.fused_ops import Pointwise
from tasks.training.lora_linear import Site


class AddNorm(Function):
    """(stream, delta) -> (stream + delta, norm of it)."""

    @staticmethod
    def forward(ctx: Any, stream: Any, delta: Any, weight: Any, math: Pointwise) -> Any:
        total, normed = math.add_norm(stream, delta, weight)
        ctx.save_for_backward(total, weight)
        ctx.math = math
        return total, normed

    @staticmethod
    def backward(ctx: Any, grad_total: Any, grad_normed: Any) -> Any:
        return *ctx.math.add_norm_back(grad_total, grad_normed, *ctx.saved_tensors), None, None


class Linear(Function):
    """[T, in] -> [T, out] through a site."""

    @staticmethod
    def forward(ctx: Any, x: Any, site: Site) -> Any:
        y, low = site.forward(x)
        ctx.save_for_backward(x, low)
        ctx.site = site
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, low = ctx.saved_tensors
        back, grad_low = ctx.site.input_gradient(grad)
        ctx.site.add_gradients(grad, grad_low, x, low)
        return back, None


class Rotate(Function):
    """Joint projection [T, (heads + 2 key heads) size] -> q, k with rotary positions, v."""

    @staticmethod
    def forward(ctx: Any, joint: Any, cos: Any, sin: Any, math: Pointwise) -> Any:
        ctx.save_for_backward(cos, sin)
        ctx.math = math
        return math.rotate(joint, cos, sin)

    @staticmethod
    def backward(ctx: Any, q: Any, k: Any, v: Any) -> Any:
        return ctx.math.rotate_back(q, k, v, *ctx.saved_tensors), None, None, None


class GatedMlp(Function):
    """[T, d] -> [T, d] through gate, up and down."""

    @staticmethod
    def forward(ctx: Any, x: Any, into: Site, out: Site, math: Pointwise) -> Any:
        both, low_in = into.forward(x)
        y, low_out = out.forward(math.gate(both))
        ctx.save_for_backward(x, low_in, both, low_out)
        ctx.sites, ctx.math = (into, out), math
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        x, low_in, both, low_out = ctx.saved_tensors
        into, out = ctx.sites
        grad_product, grad_low = out.input_gradient(grad)
        grad_both, product = ctx.math.gate_back(grad_product, both)
        out.add_gradients(grad, grad_low, product, low_out)
        back, grad_low = into.input_gradient(grad_both)
        into.add_gradients(grad_both, grad_low, x, low_in)
        return back, None, None, None


def head_loss(
    hidden: torch.Tensor, head: torch.Tensor, labels: torch.Tensor, most_logits: int, math: Pointwise, wanted: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """The sum of the losses, and its gradient if it is wanted: then labels are smoothed."""
    loss = math.smoothed if wanted else math.cross_entropy
    total = torch.zeros((), device=hidden.device)
    gradient = torch.empty_like(hidden)
    rows = max(1, most_logits // head.shape[0])
    for part, target, slot in zip(hidden.split(rows), labels.split(rows), gradient.split(rows), strict=True):
        losses, grad = loss(part @ head.t(), target)
        total += losses.sum()
        if wanted:
            torch.mm(grad, head, out=slot)
    return total, gradient


class HeadLoss(Function):
    """Hidden states [L, d], head [vocabulary, d] and labels [L, 1] -> the sum of their losses, fp32.

    The gradient is computed with the loss, a slice of rows at a time: logits of all rows never exist together, and are
    computed once.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Any, head: Any, labels: Any, most_logits: int, math: Pointwise) -> Any:
        total, gradient = head_loss(hidden, head, labels, most_logits, math, ctx.needs_input_grad[0])
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * ctx.saved_tensors[0], None, None, None, None

"""Fused elementwise operations of a decoder layer between its matrix products, forward and backward.

Plain functions of tensors that compute in fp32. On a GPU torch.compile makes one or two kernels of each, so that data
passes through memory once; elsewhere they run as they are. T: tokens, d: width of the model.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

ACTIVATIONS = {
    "silu": (1.0, 0.0),
    "gelu_pytorch_tanh": (math.sqrt(8 / math.pi), math.sqrt(8 / math.pi) * 0.044715),
}
"""act(x) = x * sigmoid(a x + b x^3): (a, b) by the name of the activation in transformers."""


def fuse(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """`function`, compiled on a GPU for any size of its matrices' first dimension."""
    if device.type != "cuda":
        return function
    compiled = torch.compile(function)

    def call(*tensors: torch.Tensor) -> Any:
        # detached, since a change of requires_grad would be a reason to compile again
        arguments = [tensor.detach() for tensor in tensors]
        for argument in arguments:
            if argument.ndim > 1:
                torch._dynamo.maybe_mark_dynamic(argument, 0)
        return compiled(*arguments)

    return call


@dataclass(frozen=True)
class FusedOps:
    """The operations for one model on one device."""

    add_norm: Callable[..., Any]
    add_norm_backward: Callable[..., Any]
    gated_activation: Callable[..., Any]
    gated_activation_backward: Callable[..., Any]
    rotate: Callable[..., Any]
    rotate_backward: Callable[..., Any]
    rotate_for_cache: Callable[..., Any]
    cross_entropy: Callable[..., Any]
    smoothed_cross_entropy: Callable[..., Any]
    """The loss in training."""

    @staticmethod
    def build(
        activation: str,
        eps: float,
        heads: tuple[int, int, int],
        dtype: torch.dtype,
        device: torch.device,
        smoothing: float,
    ) -> "FusedOps":
        """`heads`: query heads, key heads, their size. `dtype`: of products. `smoothing`: of labels, in training."""
        # numbers are bound here: as arguments of a compiled function they would become symbols
        activations = (
            _gated_activation_of_torch(activation)
            if device.type == "cpu"
            else _gated_activation(*ACTIVATIONS[activation], dtype)
        )
        functions = _norm(eps, dtype) + activations + _rotate(*heads, dtype)
        functions += (cross_entropy, smoothed_cross_entropy(smoothing) if smoothing else cross_entropy)
        return FusedOps(*(fuse(function, device) for function in functions))


def _norm(eps: float, dtype: torch.dtype) -> tuple[Callable[..., Any], ...]:
    def add_norm(stream: torch.Tensor, delta: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[T, d] + [T, d] -> their sum, in the stream's dtype, and its RMS norm times `weight` [d]."""
        total = (stream.float() + delta.float()).to(stream.dtype)
        fp32 = total.float()
        scale = torch.rsqrt(fp32.square().mean(-1, keepdim=True) + eps)
        return total, (fp32 * scale * weight).to(dtype)

    def add_norm_backward(
        grad_total: torch.Tensor, grad_normed: torch.Tensor, total: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient of each summand: in the stream's dtype, and in that of products."""
        fp32, grad = total.float(), grad_normed.float() * weight
        scale = torch.rsqrt(fp32.square().mean(-1, keepdim=True) + eps)
        inner = (grad * fp32).mean(-1, keepdim=True) * scale.square()
        grad_summand = grad_total.float() + scale * (grad - fp32 * inner)
        return grad_summand.to(total.dtype), grad_summand.to(dtype)

    return add_norm, add_norm_backward


def _gated_activation(a: float, b: float, dtype: torch.dtype) -> tuple[Callable[..., Any], ...]:
    def gated_activation(gate_and_up: torch.Tensor) -> torch.Tensor:
        """[T, 2 m] (gate, up) -> act(gate) * up, [T, m]."""
        x, up = gate_and_up.float().chunk(2, -1)
        return (x * torch.sigmoid(x * (a + b * x * x)) * up).to(dtype)

    def gated_activation_backward(grad: torch.Tensor, gate_and_up: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient of `gate_and_up`, and the product, which is cheaper to compute again than to keep."""
        fp32 = grad.float()
        x, up = gate_and_up.float().chunk(2, -1)
        s = torch.sigmoid(x * (a + b * x * x))
        slope = s + x * s * (1 - s) * (a + 3 * b * x * x)
        return torch.cat([fp32 * up * slope, fp32 * x * s], -1).to(dtype), (x * s * up).to(dtype)

    return gated_activation, gated_activation_backward


def _gated_activation_of_torch(activation: str) -> tuple[Callable[..., Any], ...]:
    """The same with torch's activations in the dtype of products: without a compiler, fewer passes through memory."""
    aten = torch.ops.aten
    arguments: dict[str, Any] = {} if activation == "silu" else {"approximate": "tanh"}
    act, slope = (aten.silu, aten.silu_backward) if activation == "silu" else (aten.gelu, aten.gelu_backward)

    def gated_activation(gate_and_up: torch.Tensor) -> torch.Tensor:
        x, up = gate_and_up.chunk(2, -1)
        product: torch.Tensor = act(x, **arguments).mul_(up)
        return product

    def gated_activation_backward(grad: torch.Tensor, gate_and_up: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, up = gate_and_up.chunk(2, -1)
        activated, grad_gate_and_up = act(x, **arguments), torch.empty_like(gate_and_up)
        grad_x, grad_up = grad_gate_and_up.chunk(2, -1)
        grad_x.copy_(slope(grad * up, x, **arguments))
        torch.mul(grad, activated, out=grad_up)
        return grad_gate_and_up, activated.mul_(up)

    return gated_activation, gated_activation_backward


def _rotate(queries: int, keys: int, size: int, dtype: torch.dtype) -> tuple[Callable[..., Any], ...]:
    head_counts, middle = [queries, keys, keys], size // 2

    def turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        x1, x2 = x[..., :middle], x[..., middle:]
        return torch.cat([x1 * cos - x2 * sin, x2 * cos + x1 * sin], -1).to(dtype)

    def first_halves(*tables: torch.Tensor) -> list[torch.Tensor]:
        return [table[:, None, :middle].float() for table in tables]  # the second half repeats the first

    def rotate(joint: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """[T, (queries + 2 keys) size] and angles [T, size] -> rotated q and k, and v: each [T, heads, size]."""
        c, s = first_halves(cos, sin)
        q, k, v = joint.view(-1, queries + 2 * keys, size).split(head_counts, 1)
        return turn(q.float(), c, s), turn(k.float(), c, s), v.contiguous()

    def rotate_backward(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> torch.Tensor:
        """Gradients of q, k, v -> gradient of the joint projection."""
        c, s = first_halves(cos, sin)
        return torch.cat([turn(q.float(), c, -s), turn(k.float(), c, -s), v.to(dtype)], 1).flatten(1)

    def rotate_for_cache(joint: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """As `rotate`, but k and v [T, 2 keys, size] together, as a cache stores them."""
        c, s = first_halves(cos, sin)
        q, k, v = joint.view(-1, queries + 2 * keys, size).split(head_counts, 1)
        return turn(q.float(), c, s), torch.cat([turn(k.float(), c, s), v], 1)

    return rotate, rotate_backward, rotate_for_cache


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[L, vocabulary] and labels [L, 1] -> losses [L, 1] in fp32, and their gradient in the logits' dtype."""
    fp32 = logits.float()
    total = fp32.logsumexp(-1, keepdim=True)
    loss = total - fp32.gather(1, labels)
    is_label = torch.arange(logits.shape[1], device=logits.device)[None] == labels
    return loss, ((fp32 - total).exp() - is_label.float()).to(logits.dtype)


def smoothed_cross_entropy(smoothing: float) -> Callable[..., Any]:
    """Cross entropy with label smoothing: all tokens share the fraction `smoothing` of each label's weight equally."""

    def function(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        fp32, vocabulary = logits.float(), logits.shape[1]
        total = fp32.logsumexp(-1, keepdim=True)
        loss = total - (1 - smoothing) * fp32.gather(1, labels) - smoothing * fp32.mean(-1, keepdim=True)
        is_label = torch.arange(vocabulary, device=logits.device)[None] == labels
        gradient = (fp32 - total).exp() - (1 - smoothing) * is_label.float() - smoothing / vocabulary
        return loss, gradient.to(logits.dtype)

    return function

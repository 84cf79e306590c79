"""The arithmetic of a decoder layer between its matrix products, forward and backward.

Plain functions of tensors, in fp32 inside. On a GPU torch.compile makes a kernel or two of each, so that what they read
and write passes through memory once; elsewhere they run as they stand. T: tokens, d: width of the model.
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
"""act(x) = x * sigmoid(a x + b x^3): (a, b) by the name that transformers gives."""


def fuse(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """`function`, compiled on a GPU for any size of its matrices' first dimension."""
    if device.type != "cuda":
        return function
    compiled = torch.compile(function)

    def call(*tensors: torch.Tensor) -> Any:
        # Detached: whether a gradient is wanted is the caller's business, and would be a reason to compile again.
        arguments = [tensor.detach() for tensor in tensors]
        for argument in arguments:
            if argument.ndim > 1:
                torch._dynamo.maybe_mark_dynamic(argument, 0)
        return compiled(*arguments)

    return call


@dataclass(frozen=True)
class Pointwise:
    """The functions for one model on one device."""

    add_norm: Callable[..., Any]
    add_norm_back: Callable[..., Any]
    gate: Callable[..., Any]
    gate_back: Callable[..., Any]
    rotate: Callable[..., Any]
    rotate_back: Callable[..., Any]
    cross_entropy: Callable[..., Any]
    smoothed: Callable[..., Any]
    """The cross entropy that is trained on."""

    @staticmethod
    def of(
        activation: str,
        eps: float,
        heads: tuple[int, int, int],
        dtype: torch.dtype,
        device: torch.device,
        smoothing: float,
    ) -> "Pointwise":
        """`heads`: of queries, of keys, and their size. `dtype`: of products. `smoothing`: of labels, in training."""
        # Numbers are bound here: as arguments of a compiled function they would become symbols.
        gates = _gate_of_torch(activation) if device.type == "cpu" else _gate(*ACTIVATIONS[activation], dtype)
        functions = _norm(eps, dtype) + gates + _rotate(*heads, dtype)
        functions += (cross_entropy, smoothed(smoothing) if smoothing else cross_entropy)
        return Pointwise(*(fuse(function, device) for function in functions))


def _norm(eps: float, dtype: torch.dtype) -> tuple[Callable[..., Any], ...]:
    def add_norm(stream: torch.Tensor, delta: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[T, d] + [T, d] -> their sum, in the stream's dtype, and its RMS norm times `weight` [d]."""
        total = (stream.float() + delta.float()).to(stream.dtype)
        wide = total.float()
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
        return total, (wide * scale * weight).to(dtype)

    def add_norm_back(
        grad_total: torch.Tensor, grad_normed: torch.Tensor, total: torch.Tensor, weight: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient with respect to either summand: in the stream's dtype, and in that of products."""
        wide, grad = total.float(), grad_normed.float() * weight
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
        inner = (grad * wide).mean(-1, keepdim=True) * scale.square()
        found = grad_total.float() + scale * (grad - wide * inner)
        return found.to(total.dtype), found.to(dtype)

    return add_norm, add_norm_back


def _gate(a: float, b: float, dtype: torch.dtype) -> tuple[Callable[..., Any], ...]:
    def gate(both: torch.Tensor) -> torch.Tensor:
        """[T, 2 m] (gate, up) -> act(gate) * up, [T, m]."""
        x, up = both.float().chunk(2, -1)
        return (x * torch.sigmoid(x * (a + b * x * x)) * up).to(dtype)

    def gate_back(grad: torch.Tensor, both: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient of `both`, and the product again: cheaper to compute than to keep from the forward pass."""
        wide = grad.float()
        x, up = both.float().chunk(2, -1)
        s = torch.sigmoid(x * (a + b * x * x))
        slope = s + x * s * (1 - s) * (a + 3 * b * x * x)
        return torch.cat([wide * up * slope, wide * x * s], -1).to(dtype), (x * s * up).to(dtype)

    return gate, gate_back


def _gate_of_torch(activation: str) -> tuple[Callable[..., Any], ...]:
    """The same by torch's own activations, in the dtype of products: without a compiler, fewer passes through memory."""
    aten = torch.ops.aten
    named: dict[str, Any] = {} if activation == "silu" else {"approximate": "tanh"}
    act, slope = (aten.silu, aten.silu_backward) if activation == "silu" else (aten.gelu, aten.gelu_backward)

    def gate(both: torch.Tensor) -> torch.Tensor:
        x, up = both.chunk(2, -1)
        product: torch.Tensor = act(x, **named).mul_(up)
        return product

    def gate_back(grad: torch.Tensor, both: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, up = both.chunk(2, -1)
        acted, found = act(x, **named), torch.empty_like(both)
        grad_x, grad_up = found.chunk(2, -1)
        grad_x.copy_(slope(grad * up, x, **named))
        torch.mul(grad, acted, out=grad_up)
        return found, acted.mul_(up)

    return gate, gate_back


def _rotate(queries: int, keys: int, size: int, dtype: torch.dtype) -> tuple[Callable[..., Any], ...]:
    parts, half = [queries, keys, keys], size // 2

    def turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        x1, x2 = x[..., :half], x[..., half:]
        return torch.cat([x1 * cos - x2 * sin, x2 * cos + x1 * sin], -1).to(dtype)

    def halves(*tables: torch.Tensor) -> list[torch.Tensor]:
        return [table[:, None, :half].float() for table in tables]  # the second half repeats the first

    def rotate(joint: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """[T, (queries + 2 keys) size] and angles [T, size] -> q, k turned by them, and v: each [T, heads, size]."""
        c, s = halves(cos, sin)
        q, k, v = joint.view(-1, queries + 2 * keys, size).split(parts, 1)
        return turn(q.float(), c, s), turn(k.float(), c, s), v.contiguous()

    def rotate_back(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> torch.Tensor:
        """Gradients of q, k, v -> gradient of the joint projection."""
        c, s = halves(cos, sin)
        return torch.cat([turn(q.float(), c, -s), turn(k.float(), c, -s), v.to(dtype)], 1).flatten(1)

    return rotate, rotate_back


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """[L, vocabulary] and labels [L, 1] -> the loss of each row [L, 1] in fp32, and its gradient in the logits' dtype."""
    wide = logits.float()
    total = wide.logsumexp(-1, keepdim=True)
    loss = total - wide.gather(1, labels)
    hit = torch.arange(logits.shape[1], device=logits.device)[None] == labels
    return loss, ((wide - total).exp() - hit.float()).to(logits.dtype)


def smoothed(share: float) -> Callable[..., Any]:
    """Cross entropy with labels that give `share` of their weight to all tokens alike."""

    def function(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        wide, vocabulary = logits.float(), logits.shape[1]
        total = wide.logsumexp(-1, keepdim=True)
        loss = total - (1 - share) * wide.gather(1, labels) - share * wide.mean(-1, keepdim=True)
        hit = torch.arange(vocabulary, device=logits.device)[None] == labels
        return loss, ((wide - total).exp() - (1 - share) * hit.float() - share / vocabulary).to(logits.dtype)

    return function

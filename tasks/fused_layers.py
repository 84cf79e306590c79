"""Norms, rotations and gated activations of a model in one Triton kernel each, for decoding on a GPU.

Same arithmetic and the same roundings as the modules of transformers, a fifth of the launches and of the memory traffic.
"""

# mypy: disable-error-code="untyped-decorator, no-untyped-def"
# (the kernels are Triton's language, which has no types)

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

try:
    import triton
    import triton.language as tl
except ImportError:  # torch for the CPU comes without
    triton = None

if triton is not None:

    @triton.jit
    def _norm(x, weight, out, columns, eps, OFFSET: tl.constexpr, LATE: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803
        """One row a program. LATE: times weight before rounding, as Gemma does; else after, as Llama does."""
        row = tl.program_id(0).to(tl.int64)
        at = tl.arange(0, BLOCK)
        inside = at < columns
        read = tl.load(x + row * columns + at, mask=inside, other=0.0)
        value = read.to(tl.float32)
        value = value * tl.rsqrt(tl.sum(value * value) / columns + eps)
        scale = tl.load(weight + at, mask=inside, other=0.0).to(tl.float32) + OFFSET
        if not LATE:
            value = value.to(read.dtype).to(tl.float32)
        tl.store(out + row * columns + at, (value * scale).to(read.dtype), mask=inside)

    @triton.jit
    def _gate(gate, up, out, count, TANH: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803
        """gelu(gate) (by tanh) or silu(gate), times up."""
        at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = at < count
        read = tl.load(gate + at, mask=inside)
        value = read.to(tl.float32)
        if TANH:
            # 0.5 x (1 + tanh(u)) is x sigmoid(2u)
            value = value * tl.sigmoid(1.5957691216057308 * (value + 0.044715 * value * value * value))
        else:
            value = value * tl.sigmoid(value)
        value = value.to(read.dtype).to(tl.float32)
        tl.store(out + at, (value * tl.load(up + at, mask=inside).to(tl.float32)).to(read.dtype), mask=inside)

    @triton.jit
    def _rotate(x, cos, sin, heads, HALF: tl.constexpr, BLOCK: tl.constexpr):  # noqa: N803
        """One head of one token a program, in place."""
        token = (tl.program_id(0) // heads).to(tl.int64)
        at = tl.arange(0, BLOCK)
        inside = at < HALF
        x += tl.program_id(0).to(tl.int64) * 2 * HALF
        first = tl.load(x + at, mask=inside)
        second = tl.load(x + HALF + at, mask=inside)
        kind = first.dtype
        c = tl.load(cos + token * 2 * HALF + at, mask=inside).to(tl.float32)
        s = tl.load(sin + token * 2 * HALF + at, mask=inside).to(tl.float32)
        a = (first.to(tl.float32) * c).to(kind).to(tl.float32) - (second.to(tl.float32) * s).to(kind).to(tl.float32)
        b = (second.to(tl.float32) * c).to(kind).to(tl.float32) + (first.to(tl.float32) * s).to(kind).to(tl.float32)
        tl.store(x + at, a.to(kind), mask=inside)
        tl.store(x + HALF + at, b.to(kind), mask=inside)


def norm(x: Tensor, weight: Tensor, eps: float, gemma: bool) -> Tensor:
    """Root-mean-square norm over the last dimension; `gemma`: weights are offsets from 1."""
    x = x.contiguous()
    out, columns = torch.empty_like(x), x.shape[-1]
    _norm[(x.numel() // columns,)](
        x, weight, out, columns, eps, OFFSET=float(gemma), LATE=gemma, BLOCK=triton.next_power_of_2(columns),
        num_warps=8 if columns > 1024 else 4,
    )  # fmt: skip
    return out


def gate(x: Tensor, up: Tensor, tanh: bool) -> Tensor:
    """gelu (by tanh) or silu of `x`, times `up`: same shape."""
    out = torch.empty_like(x)
    _gate[(triton.cdiv(x.numel(), 2048),)](x, up, out, x.numel(), TANH=tanh, BLOCK=2048, num_warps=8)
    return out


def rotate(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor, unsqueeze_dim: int = 1) -> tuple[Tensor, Tensor]:
    """Rotary embedding of [batch, heads, length, size] with [batch, length, size] of angles; overwrites its arguments."""
    cos, sin = (x.expand(len(query), -1, -1).contiguous() for x in (cos, sin))
    for x in (query, key):
        heads, size = x.shape[1], x.shape[3]
        plain = x.transpose(1, 2)  # as the projection wrote it
        assert plain.is_contiguous()
        _rotate[(plain.numel() // size,)](
            plain, cos, sin, heads, HALF=size // 2, BLOCK=triton.next_power_of_2(size // 2), num_warps=1
        )
    return query, key


@contextmanager
def fused(model: Any) -> Iterator[None]:
    """Inside, the model's norms, gates and rotations run as one kernel each."""
    source: Any = sys.modules[type(model).__module__]
    rotation = source.apply_rotary_pos_emb
    changed: list[tuple[Any, Any]] = []
    for module in model.modules():
        kind = type(module).__name__
        if kind.endswith("RMSNorm"):
            gemma = kind.startswith("Gemma")
            eps = module.eps if gemma else module.variance_epsilon
            changed.append((module, lambda x, m=module, e=eps, g=gemma: norm(x, m.weight, e, g)))
        elif kind.endswith("MLP"):
            tanh = {"GELUTanh": True, "SiLUActivation": False}.get(type(module.act_fn).__name__)
            if tanh is not None:
                changed.append((module, lambda x, m=module, t=tanh: m.down_proj(gate(m.gate_proj(x), m.up_proj(x), t))))
    for module, forward in changed:
        module.forward = forward
    source.apply_rotary_pos_emb = rotate
    try:
        yield
    finally:
        source.apply_rotary_pos_emb = rotation
        for module, _ in changed:
            del module.forward

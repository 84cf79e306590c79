"""Variable-length attention: causal among the tokens of each row of a pack."""

from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention.varlen import varlen_attn

from tasks.training.packing import Pack

# torch 2.11 shares key heads among query heads by itself; later versions need the argument
_GQA_ARGUMENTS: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}


def packed_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, pack: Pack) -> torch.Tensor:
    """q [T, heads, size], k and v [T, key heads, size] -> [T, heads, size], scaled by size ** -0.5."""
    if q.is_cuda:
        longest, cu_seqlens = max(pack.lengths), pack.cu_seqlens
        attended = varlen_attn(q, k, v, cu_seqlens, cu_seqlens, longest, longest, window_size=(-1, 0), **_GQA_ARGUMENTS)
        assert isinstance(attended, torch.Tensor)  # a pair only if the log-sum-exp is requested
        return attended
    rows = zip(*(x.transpose(0, 1)[None].split(pack.lengths, 2) for x in (q, k, v)), strict=True)
    outputs = [F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True) for q, k, v in rows]
    return torch.cat(outputs, 2)[0].transpose(0, 1)

"""Causal attention among the tokens of each row of a pack, and no others."""

from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention.varlen import varlen_attn

from tasks.training.packing import Pack

# torch 2.11 shares key heads among query heads without being told to; later it wants to be told
_SHARED: dict[str, Any] = {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, pack: Pack) -> torch.Tensor:
    """q [T, heads, size], k and v [T, key heads, size] -> [T, heads, size], scaled by size ** -0.5."""
    if q.is_cuda:
        longest = max(pack.lengths)
        attended = varlen_attn(q, k, v, pack.bounds, pack.bounds, longest, longest, window_size=(-1, 0), **_SHARED)
        assert isinstance(attended, torch.Tensor)  # a pair only if more is asked for
        return attended
    rows = zip(*(x.transpose(0, 1)[None].split(pack.lengths, 2) for x in (q, k, v)), strict=True)
    each = [F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True) for q, k, v in rows]
    return torch.cat(each, 2)[0].transpose(0, 1)

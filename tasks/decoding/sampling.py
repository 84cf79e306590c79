"""Sampling with random numbers that depend on seed, row, candidate and position, and on no batch.

A number in [0, 1) selects a token by the inverse of the cumulated probabilities. The numbers are drawn on the CPU, so
batches, their size and the number of GPUs change nothing but the rounding of the model's logits.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

SUM_BLOCK = 512
"""Tokens whose probabilities are added up first, so that no sum runs over the whole vocabulary."""


def draw_uniforms(seed: int, row: str, candidate: int, count: int) -> np.ndarray:
    """[count] numbers in [0, 1); the first ones do not depend on `count`."""
    key = hashlib.sha256(f"{seed}\n{candidate}\n{row}".encode()).digest()
    philox = np.random.Philox(key=np.frombuffer(key[:16], "<u8").astype(np.uint64))
    uniforms: np.ndarray = np.random.Generator(philox).random(count)
    return uniforms


@dataclass(frozen=True)
class Sampling:
    """Epsilon sampling at a temperature."""

    temperature: float
    epsilon: float
    """Tokens less probable than this are never sampled, unless no token is more probable."""

    def select(self, logits: Tensor, best: Tensor, uniforms: Tensor) -> Tensor:
        """Logits [rows, vocabulary], the largest of each row [rows], uniforms [rows] -> a token per row [rows]."""
        rows = len(logits)
        weights = ((logits.float() - best.float()[:, None]) / self.temperature).exp()
        # the best token has weight 1, so it always remains
        threshold = (self.epsilon * weights.sum(-1, dtype=torch.float64)).clamp(max=1.0)
        weights = weights * (weights >= threshold[:, None].float())
        blocks = F.pad(weights, (0, -weights.shape[1] % SUM_BLOCK)).view(rows, -1, SUM_BLOCK)
        sums = blocks.sum(-1, dtype=torch.float64)
        total = sums.sum(-1)
        block, remainder = _search_cumulative(sums, uniforms * total)
        inside = blocks[torch.arange(rows, device=logits.device), block].double()
        return block * SUM_BLOCK + _search_cumulative(inside, remainder)[0]


def _search_cumulative(weights: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The index at which the cumulated weights [rows, n] first exceed the targets [rows].

    Also returns the target less the sum below that index. The weight at the index is never 0, however sums are rounded.
    """
    sums = weights.cumsum(-1)
    upper = torch.nextafter(sums[:, -1], torch.zeros_like(sums[:, -1]))
    targets = torch.minimum(targets.clamp(min=0), upper)
    index = (sums <= targets[:, None]).sum(-1)
    sum_below = sums.gather(1, (index - 1).clamp(min=0)[:, None])[:, 0] * (index > 0)
    return index, targets - sum_below

"""Sampling with random numbers that depend on seed, row, candidate and position, and on no batch.

A number in [0, 1) selects a token by the inverse of the cumulated probabilities. The numbers are drawn on the CPU, so
batches, their size and the number of GPUs change nothing but the rounding of the model's logits.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tasks.models.fused_ops import fuse

SUM_BLOCK = 512
"""Tokens whose probabilities are added up first, so that no sum runs over the whole vocabulary."""
BORDERLINE = 1 - 2**-20
"""Two kernels may round a weight that equals the threshold differently: a block that was chosen never becomes empty."""


def draw_uniforms(seed: int, row: str, candidate: int, count: int) -> np.ndarray:
    """[count] numbers in [0, 1); the first ones do not depend on `count`."""
    key = hashlib.sha256(f"{seed}\n{candidate}\n{row}".encode()).digest()
    philox = np.random.Philox(key=np.frombuffer(key[:16], "<u8").astype(np.uint64))
    uniforms: np.ndarray = np.random.Generator(philox).random(count)
    return uniforms


@dataclass(frozen=True)
class Sampling:
    """Settings of epsilon sampling at a temperature."""

    temperature: float
    epsilon: float
    """Tokens less probable than this are never sampled, unless no token is more probable."""


class Sampler:
    """Samples tokens on one device. On a GPU the logits are read twice, and no table of their size is written."""

    def __init__(self, settings: Sampling, device: torch.device) -> None:
        self.settings = settings
        self.block_sums: Callable[..., tuple[Tensor, Tensor]] = fuse(self._block_sums, device)

    def select(self, logits: Tensor, best: Tensor, uniforms: Tensor) -> Tensor:
        """Logits [rows, vocabulary], the largest of each row [rows], uniforms [rows] -> a token per row [rows]."""
        sums, threshold = self.block_sums(logits, best[:, None])
        block, remainder = _search_cumulative(sums, uniforms * sums.sum(-1))
        tokens = block[:, None] * SUM_BLOCK + torch.arange(SUM_BLOCK, device=logits.device)
        inside = self._weights(logits.gather(1, tokens.clamp(max=logits.shape[1] - 1)), best[:, None])
        kept = (tokens < logits.shape[1]) & (inside >= threshold * BORDERLINE)
        return block * SUM_BLOCK + _search_cumulative((inside * kept).double(), remainder)[0]

    def _weights(self, logits: Tensor, best: Tensor) -> Tensor:
        """Probabilities, as multiples of that of the best token [rows, 1]."""
        weights: Tensor = ((logits.float() - best.float()) / self.settings.temperature).exp()
        return weights

    def _block_sums(self, logits: Tensor, best: Tensor) -> tuple[Tensor, Tensor]:
        """Sums of the weights that are not below the threshold [rows, blocks], and the threshold [rows, 1]."""
        weights = self._weights(logits, best)
        # the best token has weight 1, so it always remains
        total = weights.sum(-1, keepdim=True, dtype=torch.float64)
        threshold = (self.settings.epsilon * total).clamp(max=1.0).float()
        kept = F.pad(weights * (weights >= threshold), (0, -weights.shape[1] % SUM_BLOCK))
        return kept.view(len(logits), -1, SUM_BLOCK).sum(-1, dtype=torch.float64), threshold


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

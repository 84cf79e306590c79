"""Sampling that depends on nobody else: the numbers belong to seed, row, candidate and position, not to a batch.

A number in [0, 1) picks a token by the inverse of the cumulated probabilities. It is drawn on the CPU, so batches, their
size and the number of GPUs change nothing but the rounding of the model's own scores.
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

BLOCK = 512
"""Tokens whose probabilities are added up first: no sum runs over the whole vocabulary."""


def draws(seed: int, row: str, candidate: int, count: int) -> np.ndarray:
    """[count] numbers in [0, 1); the first ones are the same whatever the count."""
    key = hashlib.sha256(f"{seed}\n{candidate}\n{row}".encode()).digest()
    philox = np.random.Philox(key=np.frombuffer(key[:16], "<u8").astype(np.uint64))
    numbers: np.ndarray = np.random.Generator(philox).random(count)
    return numbers


@dataclass(frozen=True)
class Sampling:
    """From which probabilities tokens are drawn."""

    temperature: float
    epsilon: float
    """Tokens less probable than this are never drawn, unless none is more probable."""

    def pick(self, logits: Tensor, best: Tensor, numbers: Tensor) -> Tensor:
        """Scores [rows, tokens], the best of each row, numbers [rows] -> a token a row."""
        rows = len(logits)
        weights = ((logits.float() - best.float()[:, None]) / self.temperature).exp()
        # the best token weighs 1, and stays
        least = (self.epsilon * weights.sum(-1, dtype=torch.float64)).clamp(max=1.0)
        weights = weights * (weights >= least[:, None].float())
        blocks = F.pad(weights, (0, -weights.shape[1] % BLOCK)).view(rows, -1, BLOCK)
        sums = blocks.sum(-1, dtype=torch.float64)
        total = sums.sum(-1)
        block, rest = _place(sums, numbers * total)
        inside = blocks[torch.arange(rows, device=logits.device), block].double()
        return block * BLOCK + _place(inside, rest)[0]


def _place(weights: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Where the cumulated weights [rows, n] first exceed the targets [rows], and what is left of the targets there.

    Never a place of weight 0, however sums are rounded.
    """
    sums = weights.cumsum(-1)
    below = torch.nextafter(sums[:, -1], torch.zeros_like(sums[:, -1]))
    targets = torch.minimum(targets.clamp(min=0), below)
    place = (sums <= targets[:, None]).sum(-1)
    before = sums.gather(1, (place - 1).clamp(min=0)[:, None])[:, 0] * (place > 0)
    return place, targets - before

"""Direct preference optimization: the preferred row of each pair becomes more probable, the other one less.

Rafailov et al. 2023, https://arxiv.org/abs/2305.18290. A row's log-probability is the sum over its labelled tokens.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F

from tasks.config import DistillConfig
from tasks.training.builder import Trainable
from tasks.training.objective import MicroBatches, max_plausible_cross_entropy
from tasks.training.packing import Pack, Row, balance_by_tokens, pack, target_count
from tasks.training.process_group import ProcessGroup

Pair = tuple[Row, Row]
"""The preferred row and the other one, with the same prompt."""
MAX_PLAUSIBLE_PREFERENCE_LOSS = 10 * math.log(2)
"""Ten times the loss before the first step."""


class TokenLosses(Trainable, Protocol):
    """A model that gives the loss of each token."""

    def token_losses(self, pack: Pack) -> torch.Tensor:
        """Cross-entropy of each labelled token [L], fp32."""
        ...


class Preference:
    """Loss of a pair: -log sigmoid of the margin, plus the weighted cross-entropy per token of the preferred row.

    The margin is beta ((log p - log p0) of the preferred row - (log p - log p0) of the other), where p0 are the
    probabilities before the first step. With the loss `sigmoid_norm` both differences are divided by the row's labelled
    tokens (Meng et al. 2024, https://arxiv.org/abs/2405.14734, divide the log-probabilities in this way).
    """

    example, rows_per_example = "pair", 2
    figures = ("reward_accuracy", "reward_margin")
    """Mean over the pairs of a step: share with a positive margin, and margin (`rewards/accuracies` and
    `rewards/margins` in TRL)."""

    def __init__(self, model: TokenLosses, pairs: Sequence[Pair], ids: Sequence[str], settings: DistillConfig) -> None:
        self.model, self.pairs, self.ids, self.settings = model, pairs, ids, settings
        self.lengths = [sum(len(tokens) for tokens, _ in pair) for pair in pairs]
        self.counts = [1] * len(pairs)
        self.target_counts = [[target_count(row) for row in pair] for pair in pairs]
        self.reference = torch.zeros(len(pairs), 2, device=model.device)
        """[pairs, 2] log-probabilities before the first step."""

    def prepare(self, group: ProcessGroup, micro_batches: MicroBatches) -> None:
        """Measure the log-probabilities before the first step."""
        own = balance_by_tokens(self.lengths, group.size)[group.rank]
        with torch.no_grad():
            for part in micro_batches([self.lengths[i] for i in own]):
                examples = [own[i] for i in part]
                self.reference[examples] = self.log_probabilities(examples)
        group.all_reduce(self.reference)

    def row_lengths(self, examples: Sequence[int]) -> list[int]:
        return [len(tokens) for i in examples for tokens, _ in self.pairs[i]]

    def log_probabilities(self, examples: Sequence[int]) -> torch.Tensor:
        """[examples, 2] of the preferred row and the other one."""
        packed = pack([row for i in examples for row in self.pairs[i]])
        counts = torch.tensor([self.target_counts[i] for i in examples]).flatten()
        row_of_token = torch.repeat_interleave(torch.arange(len(counts)), counts)
        losses = self.model.token_losses(packed.to(self.model.device))
        rows = losses.new_zeros(len(counts)).index_add(0, row_of_token.to(self.model.device), losses)
        return -rows.view(-1, 2)

    def loss(self, examples: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        log_probabilities = self.log_probabilities(examples)
        counts = torch.tensor([self.target_counts[i] for i in examples], device=self.model.device)
        ratios = log_probabilities - self.reference[list(examples)]
        if self.settings.loss == "sigmoid_norm":
            ratios = ratios / counts
        margins = self.settings.beta * (ratios[:, 0] - ratios[:, 1])
        loss = -F.logsigmoid(margins).sum()
        if self.settings.cross_entropy:
            loss = loss - self.settings.cross_entropy * (log_probabilities[:, 0] / counts[:, 0]).sum()
        detached = margins.detach()
        return loss, torch.stack([(detached > 0).float().sum(), detached.sum()])

    def max_plausible_loss(self, first: float) -> float:
        """`first` is not used: it is near log 2."""
        cross_entropy = max_plausible_cross_entropy(self.model.vocabulary, 0.0)
        return MAX_PLAUSIBLE_PREFERENCE_LOSS + self.settings.cross_entropy * cross_entropy

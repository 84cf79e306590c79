"""What a training minimizes: the sum of the losses of its examples, such as the cross-entropy of rows."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from tasks.training.builder import Trainable
from tasks.training.packing import LabelledRows, pack
from tasks.training.process_group import ProcessGroup

MicroBatches = Callable[[Sequence[int]], list[list[int]]]
"""Tokens of some examples -> their indexes, in micro-batches."""


class Objective(Protocol):
    """The examples of a training and their loss. An example has one or more rows, which stay in one micro-batch."""

    example: str
    """What an example is called in messages."""
    rows_per_example: int

    @property
    def model(self) -> Trainable: ...

    @property
    def ids(self) -> Sequence[str]:
        """Name of each example."""
        ...

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each example."""
        ...

    @property
    def counts(self) -> Sequence[int]:
        """The loss and the gradient of a step are divided by the sum of these over its examples."""
        ...

    @property
    def figures(self) -> tuple[str, ...]:
        """Names of what is measured besides the loss."""
        ...

    def prepare(self, group: ProcessGroup, micro_batches: MicroBatches) -> None:
        """Called once before the first step, with the adapter as it is at the start."""
        ...

    def row_lengths(self, examples: Sequence[int]) -> list[int]:
        """Tokens of each row of these examples."""
        ...

    def loss(self, examples: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums over examples that fit into memory together: of their losses, and of each of `figures` [figures]."""
        ...

    def max_plausible_loss(self, first: float) -> float:
        """A mean loss above this has diverged. `first`: the first loss that was measured."""
        ...


def max_plausible_cross_entropy(vocabulary: int, first: float) -> float:
    """Twice the cross-entropy of guessing among all tokens, or twice the first one, whichever is larger."""
    return 2 * max(math.log(vocabulary), first)


class Supervised:
    """Cross-entropy of the labelled tokens of each row."""

    example, rows_per_example = "row", 1
    figures: tuple[str, ...] = ()

    def __init__(self, model: Trainable, rows: LabelledRows) -> None:
        self.model, self.rows = model, rows
        self.ids, self.lengths, self.counts = rows.ids, rows.lengths, rows.target_counts
        self._no_figures = torch.zeros(0, device=model.device)

    def prepare(self, group: ProcessGroup, micro_batches: MicroBatches) -> None:
        """Nothing is needed."""

    def row_lengths(self, examples: Sequence[int]) -> list[int]:
        return [self.lengths[i] for i in examples]

    def loss(self, examples: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        loss = self.model.loss(pack([self.rows.rows[i] for i in examples]).to(self.model.device))
        return loss, self._no_figures

    def max_plausible_loss(self, first: float) -> float:
        return max_plausible_cross_entropy(self.model.vocabulary, first)

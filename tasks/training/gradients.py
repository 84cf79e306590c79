"""Losses and gradients of a step's examples, in micro-batches as large as memory allows."""

import time
from collections.abc import Sequence

import torch

from artifacts.errors import StageError
from tasks.training.memory import is_out_of_memory
from tasks.training.objective import Objective
from tasks.training.packing import balance_by_tokens, micro_batches
from tasks.training.process_group import ProcessGroup
from tasks.workers.events import Events


class GradientAccumulator:
    """Adds up the gradients of the examples that belong to this process."""

    def __init__(
        self, objective: Objective, group: ProcessGroup, events: Events, token_budget: int, max_rows: int | None
    ) -> None:
        """`token_budget` and `max_rows` bound a micro-batch."""
        self.model, self.objective, self.group, self.events = objective.model, objective, group, events
        self.token_budget, self.max_rows = token_budget, max_rows
        self.largest_micro_batch = (0, 0)
        """Tokens and rows of the largest micro-batch so far."""

    def own_examples(self, examples: Sequence[int]) -> list[int]:
        """Those of a step's examples that belong to this process."""
        indexes = balance_by_tokens(self._lengths(examples), self.group.size)[self.group.rank]
        return [examples[i] for i in indexes]

    def micro_batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Indexes of examples with so many tokens, in micro-batches."""
        most = max(1, self.max_rows // self.objective.rows_per_example) if self.max_rows else None
        return micro_batches(lengths, self.token_budget, most)

    def accumulate(self, examples: list[int]) -> torch.Tensor:
        """Add the gradients of `examples` to the adapter's.

        Returns the sum of their losses, and those of the figures of the objective [1 + figures].

        If memory runs out, all of it is computed again with half the tokens at once.
        StageError if a single example does not fit.
        """
        while True:
            sums = torch.zeros(1 + len(self.objective.figures), device=self.model.device)
            tokens = 0
            try:
                for indexes in self.micro_batches(self._lengths(examples)):
                    micro_batch = [examples[i] for i in indexes]
                    tokens = sum(self._lengths(micro_batch))
                    rows = len(micro_batch) * self.objective.rows_per_example
                    self.largest_micro_batch = max(self.largest_micro_batch, (tokens, rows))
                    loss, figures = self.objective.loss(micro_batch)
                    loss.backward()
                    sums += torch.cat([loss.detach()[None], figures])
                return sums
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                is_single = len(micro_batch) == 1
            # outside of `except`, whose traceback keeps the tensors that filled the memory
            self._reduce_budget(tokens, is_single)

    def _lengths(self, examples: Sequence[int]) -> list[int]:
        return [self.objective.lengths[i] for i in examples]

    def _reduce_budget(self, tokens: int, is_single: bool) -> None:
        """Halve the token budget after a micro-batch of `tokens` tokens did not fit."""
        self.model.adapter.grads.zero_()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        if is_single:
            raise StageError(
                f"out of memory with a single {self.objective.example} of {tokens} tokens: lower train.max_length, or "
                "use a larger GPU"
            )
        self.token_budget = max(1, min(self.token_budget, tokens) // 2)
        self.largest_micro_batch = (0, 0)
        self.events.log(f"out of memory with {tokens} tokens at once: continuing with {self.token_budget}")

    def warm_up(self, steps: Sequence[Sequence[int]]) -> float:
        """Compile, capture, and check that the largest micro-batch of the steps fits. Returns the seconds it took."""
        started = time.perf_counter()
        packs = []
        for step_examples in steps:
            own = self.own_examples(step_examples)
            packs += [[own[i] for i in part] for part in self.micro_batches(self._lengths(own))]
        lengths = [self.objective.row_lengths(examples) for examples in packs]
        by_size = sorted(range(len(packs)), key=lambda i: -sum(lengths[i]))
        for i in dict.fromkeys([*by_size[:1], *by_size[-1:], *self.model.select_warm_up(lengths)]):
            self.accumulate(packs[i])
        self.model.adapter.grads.zero_()
        torch.cuda.synchronize()
        return time.perf_counter() - started

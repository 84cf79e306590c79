"""Losses and gradients of a step's rows, in micro-batches as large as memory allows."""

import time
from collections.abc import Sequence

import torch

from artifacts.errors import StageError
from tasks.training.builder import Trainable
from tasks.training.memory import is_out_of_memory
from tasks.training.packing import LabelledRows, balance_by_tokens, micro_batches, pack
from tasks.training.process_group import ProcessGroup
from tasks.workers.events import Events


class GradientAccumulator:
    """Adds up the gradients of the rows that belong to this process."""

    def __init__(
        self,
        model: Trainable,
        rows: LabelledRows,
        group: ProcessGroup,
        events: Events,
        token_budget: int,
        max_rows: int | None,
    ) -> None:
        """`token_budget` and `max_rows` bound a micro-batch."""
        self.model, self.rows, self.group, self.events = model, rows, group, events
        self.token_budget, self.max_rows = token_budget, max_rows
        self.largest_micro_batch = (0, 0)
        """Tokens and rows of the largest micro-batch so far."""

    def own_rows(self, rows: Sequence[int]) -> list[int]:
        """Those of a step's rows that belong to this process."""
        indexes = balance_by_tokens([self.rows.lengths[i] for i in rows], self.group.size)[self.group.rank]
        return [rows[i] for i in indexes]

    def micro_batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """Indexes of rows of these lengths, in micro-batches."""
        return micro_batches(lengths, self.token_budget, self.max_rows)

    def accumulate(self, rows: list[int]) -> torch.Tensor:
        """Add the gradients of `rows` to the adapter's. Returns the sum of their losses.

        If memory runs out, all of it is computed again with half the tokens at once.
        StageError if a single row does not fit.
        """
        while True:
            total = torch.zeros((), device=self.model.device)
            tokens = 0
            try:
                for indexes in self.micro_batches([self.rows.lengths[i] for i in rows]):
                    micro_batch = [rows[i] for i in indexes]
                    tokens = sum(self.rows.lengths[i] for i in micro_batch)
                    self.largest_micro_batch = max(self.largest_micro_batch, (tokens, len(micro_batch)))
                    loss = self.model.loss(pack([self.rows.rows[i] for i in micro_batch]).to(self.model.device))
                    loss.backward()
                    total += loss.detach()
                return total
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                single_row = len(micro_batch) == 1
            # outside of `except`, whose traceback keeps the tensors that filled the memory
            self._reduce_budget(tokens, single_row)

    def _reduce_budget(self, tokens: int, single_row: bool) -> None:
        """Halve the token budget after a micro-batch of `tokens` tokens did not fit."""
        self.model.adapter.grads.zero_()
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()
        if single_row:
            raise StageError(
                f"out of memory with a single row of {tokens} tokens: lower train.max_length, or use a larger GPU"
            )
        self.token_budget = max(1, min(self.token_budget, tokens) // 2)
        self.largest_micro_batch = (0, 0)
        self.events.log(f"out of memory with {tokens} tokens at once: continuing with {self.token_budget}")

    def warm_up(self, steps: Sequence[Sequence[int]]) -> float:
        """Compile, capture, and check that the largest micro-batch of the steps fits. Returns the seconds it took."""
        started = time.perf_counter()
        packs = []
        for step_rows in steps:
            own = self.own_rows(step_rows)
            packs += [[own[i] for i in part] for part in self.micro_batches([self.rows.lengths[i] for i in own])]
        lengths = [[self.rows.lengths[i] for i in rows] for rows in packs]
        by_size = sorted(range(len(packs)), key=lambda i: -sum(lengths[i]))
        for i in dict.fromkeys([*by_size[:1], *by_size[-1:], *self.model.select_warm_up(lengths)]):
            self.accumulate(packs[i])
        self.model.adapter.grads.zero_()
        torch.cuda.synchronize()
        return time.perf_counter() - started

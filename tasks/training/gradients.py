"""Losses of rows and their gradients, as many tokens at once as memory holds."""

import time
from collections.abc import Sequence

import torch

from artifacts.errors import StageError
from tasks.training.builder import Trainable
from tasks.training.memory import out_of_memory
from tasks.training.packing import Rows, micro_batches, pack, shares
from tasks.training.process_group import Group
from tasks.workers.events import Events


class Gradients:
    """Of one process's share of the rows."""

    def __init__(
        self, model: Trainable, rows: Rows, group: Group, events: Events, budget: int, most_rows: int | None
    ) -> None:
        """`budget`: tokens of a micro-batch; `most_rows`: its rows."""
        self.model, self.rows, self.group, self.events = model, rows, group, events
        self.budget, self.most_rows = budget, most_rows
        self.largest = (0, 0)
        """Tokens and rows of the largest micro-batch so far."""

    def mine(self, rows: Sequence[int]) -> list[int]:
        """Which of a step's rows are this process's."""
        share = shares([self.rows.lengths[i] for i in rows], self.group.size)[self.group.rank]
        return [rows[i] for i in share]

    def parts(self, lengths: Sequence[int]) -> list[list[int]]:
        """Indexes of rows of these lengths, in micro-batches."""
        return micro_batches(lengths, self.budget, self.most_rows)

    def add(self, rows: list[int]) -> torch.Tensor:
        """Add the gradients of `rows` to the adapter's; the sum of their losses.

        Out of memory: all of it again, half the tokens at once. StageError if a single row does not fit.
        """
        while True:
            total = torch.zeros((), device=self.model.device)
            tokens = 0
            try:
                for part in self.parts([self.rows.lengths[i] for i in rows]):
                    picked = [rows[i] for i in part]
                    tokens = sum(self.rows.lengths[i] for i in picked)
                    self.largest = max(self.largest, (tokens, len(picked)))
                    loss = self.model.loss(pack([self.rows.rows[i] for i in picked]).to(self.model.device))
                    loss.backward()
                    total += loss.detach()
                return total
            except Exception as error:
                if not out_of_memory(error):
                    raise
                single = len(picked) == 1
            self.model.adapter.grads.zero_()
            if self.model.device.type == "cuda":
                torch.cuda.empty_cache()
            if single:
                raise StageError(
                    f"out of memory with a single row of {tokens} tokens: lower train.max_length, or use a larger GPU"
                )
            self.budget = max(1, min(self.budget, tokens) // 2)
            self.largest = (0, 0)
            self.events.log(f"out of memory with {tokens} tokens at once: going on with {self.budget}")

    def warm_up(self, steps: Sequence[Sequence[int]]) -> float:
        """Compile, record, and see that the largest micro-batch of the steps fits, before time is taken. Seconds it took."""
        started = time.perf_counter()
        packs = []
        for step in steps:
            mine = self.mine(step)
            packs += [[mine[i] for i in part] for part in self.parts([self.rows.lengths[i] for i in mine])]
        lengths = [[self.rows.lengths[i] for i in rows] for rows in packs]
        by_size = sorted(range(len(packs)), key=lambda i: -sum(lengths[i]))
        for i in dict.fromkeys([*by_size[:1], *by_size[-1:], *self.model.prepare(lengths)]):
            self.add(packs[i])
        self.model.adapter.grads.zero_()
        torch.cuda.synchronize()
        return time.perf_counter() - started

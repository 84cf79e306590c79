"""The decoder's layers as CUDA graphs: a step of few rows is no longer as long as the launching of its 2,000 kernels.

A graph has fixed sizes, so a pack is filled up with tokens that nothing attends to and nothing reads, to the next
multiple of `STEP`; there is a graph for each size that is to come more than once, all in one pool of memory. The head stays
outside: it is a dozen launches, and its size varies by itself. Large packs of large models keep the GPU busy as they are,
and run without. On the CPU the same code runs without recording, for tests.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.autograd import Function

from tasks.training.layers import head_loss
from tasks.training.packed_model import Decoder
from tasks.training.packing import Pack

STEP = 512
"""Tokens; half of it is filled up on average."""
ROWS = 8
"""Rows are filled up to a multiple of this; rows without tokens cost nothing."""
LONGEST = 1024
"""The longest row is rounded up to a multiple of this: it decides how many blocks attention starts, and most end at once."""
MOST = 8
"""Graphs; a size beyond them runs without."""
LAUNCH_BOUND = 6e11
"""Weights of a layer times tokens of a pack, below which launching takes longer than computing (H200, Gemma-2B: 4e11 runs
1.4 times as fast from graphs, 9e11 no faster)."""
FREE = 0.3
"""Share of the GPU's memory that must be free for another graph."""

Key = tuple[int, int, int]
"""Tokens, rows and the longest row, each rounded up."""


def up(number: int, step: int) -> int:
    """The least multiple of `step` that is not below `number`."""
    return -(-number // step) * step


def key_of(lengths: Sequence[int], step: int) -> Key:
    """Of a pack of rows of these lengths; the tokens that fill it up are a row as well."""
    return up(sum(lengths), step), up(len(lengths) + 1, ROWS), up(max(*lengths, step), LONGEST)


def filled(pack: Pack, key: Key) -> Pack:
    """The pack with a row more, of as many tokens as are missing, and empty rows after it."""
    tokens, rows, _ = key
    missing = tokens - sum(pack.lengths)
    bounds = pack.bounds.new_full((rows + 1,), tokens)
    bounds[: len(pack.bounds)] = pack.bounds
    return Pack(
        torch.cat([pack.ids, pack.ids.new_zeros(missing)]),
        torch.cat([pack.positions, torch.arange(missing, device=pack.positions.device)]),
        bounds, pack.picked, pack.labels, (*pack.lengths, missing) if missing else pack.lengths,
    )  # fmt: skip


class Recorded:
    """Forward and backward of the layers for packs of one size."""

    def __init__(self, decoder: Decoder, sample: Pack, key: Key, pool: Any) -> None:
        self.decoder, cuda = decoder, sample.ids.is_cuda
        ids, positions, bounds = sample.ids.clone(), sample.positions.clone(), sample.bounds.clone()
        lengths = (key[2],) if cuda else sample.lengths
        self.pack = Pack(ids, positions, bounds, sample.picked, sample.labels, lengths)
        self.delta = self.normed = torch.empty(0)
        if cuda:  # once without recording: compiles what is left to compile
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                kept = decoder.adapter.grads.clone()
                self._forward()
                self.grad = torch.zeros_like(self.normed)
                self._backward()
                decoder.adapter.grads.copy_(kept)
            torch.cuda.current_stream().wait_stream(side)
            torch.cuda.synchronize()
            self.forward, self.backward = (self._record(part, pool) for part in (self._forward, self._backward))
        else:
            self._forward()
            self.grad = torch.zeros_like(self.normed)
            self.forward, self.backward = self._forward, self._backward
        self.normed = self.normed.detach() if cuda else self.normed

    @staticmethod
    def _record(function: Callable[[], None], pool: Any) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # with several processes NCCL has a thread that asks for events meanwhile: not an error of this thread
        mode = "thread_local" if torch.distributed.is_initialized() else "global"
        with torch.cuda.graph(graph, pool=pool, capture_error_mode=mode):
            function()
        replay: Callable[[], None] = graph.replay
        return replay

    def _forward(self) -> None:
        with torch.enable_grad():
            self.delta = self.decoder.embedded(self.pack)
            self.normed = self.decoder.states(self.delta, self.pack)

    def _backward(self) -> None:
        torch.autograd.grad(self.normed, self.delta, self.grad)  # the adapter's gradients are added on the way

    def load(self, pack: Pack) -> None:
        self.pack.ids.copy_(pack.ids)
        self.pack.positions.copy_(pack.positions)
        self.pack.bounds.copy_(pack.bounds)
        if not pack.ids.is_cuda:
            self.pack = Pack(pack.ids, pack.positions, pack.bounds, pack.picked, pack.labels, pack.lengths)


class Replayed(Function):
    """Loss of a pack by recorded layers."""

    @staticmethod
    def forward(ctx: Any, anchor: Any, recorded: Recorded, pack: Pack) -> Any:
        recorded.load(pack)
        recorded.forward()
        decoder = recorded.decoder
        hidden = recorded.normed.detach()[pack.picked]
        total, gradient = head_loss(hidden, decoder.head, pack.labels[:, None], decoder.most_logits, decoder.math, True)
        ctx.save_for_backward(gradient, pack.picked)
        ctx.recorded = recorded
        return total

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        gradient, picked = ctx.saved_tensors
        ctx.recorded.grad.zero_()
        ctx.recorded.grad.index_copy_(0, picked, grad * gradient)
        ctx.recorded.backward()
        return None, None, None


class GraphedDecoder:
    """A decoder whose training passes are replayed. `backward` must follow each loss before the next one."""

    def __init__(self, decoder: Decoder, step: int = STEP) -> None:
        self.decoder, self.step = decoder, step
        self.adapter, self.device, self.dtype = decoder.adapter, decoder.device, decoder.dtype
        self.vocabulary = decoder.vocabulary
        self.wanted: set[Key] = set()
        self.graphs: dict[Key, Recorded] = {}
        self.pool = torch.cuda.graph_pool_handle() if self.device.type == "cuda" else None
        self.anchor = torch.zeros((), device=self.device, requires_grad=True)

    def prepare(self, packs: Sequence[Sequence[int]]) -> list[int]:
        """Want a graph for the sizes that come up most."""
        keys = [key_of(lengths, self.step) for lengths in packs]
        counts = Counter(key for key in keys if self.decoder.layer_weights * key[0] < LAUNCH_BOUND)
        self.wanted = {key for key, count in counts.most_common(MOST) if count > 1}
        return [keys.index(key) for key in sorted(self.wanted, reverse=True)]

    def loss(self, pack: Pack) -> torch.Tensor:
        key = key_of(pack.lengths, self.step)
        if key not in self.wanted or not torch.is_grad_enabled():
            return self.decoder.loss(pack)
        whole = filled(pack, key)
        if key not in self.graphs:
            if not self._room():
                self.wanted.discard(key)
                return self.decoder.loss(pack)
            self.graphs[key] = Recorded(self.decoder, whole, key, self.pool)
        loss: torch.Tensor = Replayed.apply(self.anchor, self.graphs[key], whole)
        return loss

    def _room(self) -> bool:
        if self.device.type != "cuda":
            return True
        free, total = torch.cuda.mem_get_info()
        return free > FREE * total

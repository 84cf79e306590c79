"""CUDA graphs of the layers, so that a small step does not wait for the launch of its 2,000 kernels.

A graph has fixed sizes, so a pack is padded with tokens that no row attends to, up to the next multiple of
`TOKEN_BUCKET`. There is a graph for each size that occurs more than once, and all graphs share one pool of memory. The
head stays outside: it takes a dozen launches, and its size varies by itself. Large packs of large models keep the GPU
busy and run without graphs. On a CPU the same code runs without capture, for tests.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.autograd import Function

from tasks.training.layers import head_losses, weighted
from tasks.training.packed_model import PackedModel
from tasks.training.packing import Pack

TOKEN_BUCKET = 512
"""Packs are padded to a multiple of this number of tokens; on average half of it is padding."""
ROW_BUCKET = 8
"""The number of rows is padded to a multiple of this; rows without tokens cost nothing."""
SEQLEN_BUCKET = 1024
"""The longest row is rounded up to a multiple of this. It decides how many blocks attention starts."""
MAX_GRAPHS = 8
"""Sizes beyond these run without a graph."""
LAUNCH_BOUND = 6e11
"""Weights of a layer times tokens of a pack, below which launching takes longer than computing (H200, Gemma-2B: 4e11
runs 1.4 times as fast from graphs, 9e11 no faster)."""
MIN_FREE_MEMORY = 0.3
"""Fraction of the GPU's memory that must be free for another graph."""

GraphKey = tuple[int, int, int]
"""Tokens, rows and the longest row, each rounded up."""


def round_up(number: int, multiple: int) -> int:
    """The smallest multiple of `multiple` that is not below `number`."""
    return -(-number // multiple) * multiple


def graph_key(lengths: Sequence[int], token_bucket: int) -> GraphKey:
    """The key of a pack of rows of these lengths; the padding counts as a row."""
    return (
        round_up(sum(lengths), token_bucket),
        round_up(len(lengths) + 1, ROW_BUCKET),
        round_up(max(*lengths, token_bucket), SEQLEN_BUCKET),
    )


def pad_pack(pack: Pack, key: GraphKey) -> Pack:
    """The pack with one more row, of as many tokens as are missing, and empty rows after it."""
    tokens, rows, _ = key
    missing = tokens - sum(pack.lengths)
    cu_seqlens = pack.cu_seqlens.new_full((rows + 1,), tokens)
    cu_seqlens[: len(pack.cu_seqlens)] = pack.cu_seqlens
    return Pack(
        torch.cat([pack.ids, pack.ids.new_zeros(missing)]),
        torch.cat([pack.positions, torch.arange(missing, device=pack.positions.device)]),
        cu_seqlens,
        pack.target_positions,
        pack.labels,
        (*pack.lengths, missing) if missing else pack.lengths,
    )


class CapturedLayers:
    """Forward and backward pass of the layers for packs of one size."""

    def __init__(self, model: PackedModel, sample: Pack, key: GraphKey, pool: Any) -> None:
        self.model, cuda = model, sample.ids.is_cuda
        ids, positions, cu_seqlens = sample.ids.clone(), sample.positions.clone(), sample.cu_seqlens.clone()
        lengths = (key[2],) if cuda else sample.lengths
        self.pack = Pack(ids, positions, cu_seqlens, sample.target_positions, sample.labels, lengths)
        self.embeddings = self.hidden_states = torch.empty(0)
        if cuda:
            self._warm_up()
            self.forward, self.backward = (self._capture(part, pool) for part in (self._forward, self._backward))
        else:
            self._forward()
            self.grad = torch.zeros_like(self.hidden_states)
            self.forward, self.backward = self._forward, self._backward
        self.hidden_states = self.hidden_states.detach() if cuda else self.hidden_states

    def _warm_up(self) -> None:
        """Run once without capture, which compiles the kernels. The adapter's gradients stay as they are."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            saved_grads = self.model.adapter.grads.clone()
            self._forward()
            self.grad = torch.zeros_like(self.hidden_states)
            self._backward()
            self.model.adapter.grads.copy_(saved_grads)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()

    @staticmethod
    def _capture(function: Callable[[], None], pool: Any) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # with several processes a thread of NCCL queries events meanwhile, which is no error of this thread
        mode = "thread_local" if torch.distributed.is_initialized() else "global"
        with torch.cuda.graph(graph, pool=pool, capture_error_mode=mode):
            function()
        replay: Callable[[], None] = graph.replay
        return replay

    def _forward(self) -> None:
        with torch.enable_grad():
            self.embeddings = self.model.embed(self.pack)
            self.hidden_states = self.model.hidden_states(self.embeddings, self.pack)

    def _backward(self) -> None:
        # adds the adapter's gradients on the way
        torch.autograd.grad(self.hidden_states, self.embeddings, self.grad)

    def load(self, pack: Pack) -> None:
        """Copy a pack of this size to the tensors that the graph reads."""
        self.pack.ids.copy_(pack.ids)
        self.pack.positions.copy_(pack.positions)
        self.pack.cu_seqlens.copy_(pack.cu_seqlens)
        if not pack.ids.is_cuda:
            self.pack = Pack(
                pack.ids, pack.positions, pack.cu_seqlens, pack.target_positions, pack.labels, pack.lengths
            )


class ReplayedLosses(Function):
    """Losses of a pack's labelled tokens [L], with the layers replayed from their graphs."""

    @staticmethod
    def forward(ctx: Any, anchor: Any, captured: CapturedLayers, pack: Pack) -> Any:
        captured.load(pack)
        captured.forward()
        model = captured.model
        hidden = captured.hidden_states.detach()[pack.target_positions]
        losses, gradient = head_losses(hidden, model.head, pack.labels[:, None], model.max_logits, model.ops, True)
        ctx.save_for_backward(gradient, pack.target_positions)
        ctx.captured = captured
        return losses

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        gradient, target_positions = ctx.saved_tensors
        ctx.captured.grad.zero_()
        ctx.captured.grad.index_copy_(0, target_positions, weighted(gradient, grad))
        ctx.captured.backward()
        return None, None, None


class GraphedPackedModel:
    """A packed model that replays CUDA graphs. `backward` must follow each loss before the next one."""

    def __init__(self, model: PackedModel, token_bucket: int = TOKEN_BUCKET) -> None:
        self.model, self.token_bucket = model, token_bucket
        self.adapter, self.device, self.dtype = model.adapter, model.device, model.dtype
        self.vocabulary = model.vocabulary
        self.planned_keys: set[GraphKey] = set()
        """Sizes that get a graph."""
        self.graphs: dict[GraphKey, CapturedLayers] = {}
        self.pool = torch.cuda.graph_pool_handle() if self.device.type == "cuda" else None
        self.anchor = torch.zeros((), device=self.device, requires_grad=True)

    def select_warm_up(self, packs: Sequence[Sequence[int]]) -> list[int]:
        """Choose the most frequent sizes for graphs. Returns the index of one pack of each size."""
        keys = [graph_key(lengths, self.token_bucket) for lengths in packs]
        counts = Counter(key for key in keys if self.model.layer_weights * key[0] < LAUNCH_BOUND)
        self.planned_keys = {key for key, count in counts.most_common(MAX_GRAPHS) if count > 1}
        return [keys.index(key) for key in sorted(self.planned_keys, reverse=True)]

    def loss(self, pack: Pack) -> torch.Tensor:
        """Sum over the labelled tokens, fp32. `pack` is on the model's device."""
        return self.token_losses(pack).sum()

    def token_losses(self, pack: Pack) -> torch.Tensor:
        """Cross-entropy of each labelled token [L], fp32. `pack` is on the model's device."""
        key = graph_key(pack.lengths, self.token_bucket)
        if key not in self.planned_keys or not torch.is_grad_enabled():
            return self.model.token_losses(pack)
        padded = pad_pack(pack, key)
        if key not in self.graphs:
            if not self._has_memory():
                self.planned_keys.discard(key)
                return self.model.token_losses(pack)
            self.graphs[key] = CapturedLayers(self.model, padded, key, self.pool)
        losses: torch.Tensor = ReplayedLosses.apply(self.anchor, self.graphs[key], padded)
        return losses

    def _has_memory(self) -> bool:
        """Whether there is memory for another graph."""
        if self.device.type != "cuda":
            return True
        free, total = torch.cuda.mem_get_info()
        return free > MIN_FREE_MEMORY * total

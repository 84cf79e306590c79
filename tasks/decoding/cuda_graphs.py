"""CUDA graphs: a step that is always the same is recorded once and replayed, so that the GPU never waits for Python."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Graphs:
    """One graph for each kind of step over the same `state`."""

    def __init__(self, state: tuple[Tensor, ...]) -> None:
        self.state = state
        self.made: dict[tuple[Any, ...], Callable[[], None]] = {}
        self.pool: Any = None
        """Memory that all graphs share: they never run at once."""
        self.seconds = 0.0
        """Spent on recording."""

    def run(self, step: Callable[..., None], *kind: Any) -> None:
        """`step(*kind)`, recorded at its first use."""
        if kind not in self.made:
            started = time.perf_counter()
            self.made[kind] = self.recorded(step, *kind)
            self.seconds += time.perf_counter() - started
        self.made[kind]()

    def recorded(self, step: Callable[..., None], *kind: Any) -> Callable[[], None]:
        """A graph of the step. What the step that warms up changes in the state is taken back."""
        before = [tensor.clone() for tensor in self.state]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            step(*kind)
            for tensor, old in zip(self.state, before, strict=True):
                tensor.copy_(old)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=stream):
            step(*kind)
        self.pool = self.pool or graph.pool()
        replay: Callable[[], None] = graph.replay
        return replay

"""CUDA graphs of decode steps: a step is captured once and replayed, so that the GPU never waits for Python."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class StepGraphs:
    """One CUDA graph for each combination of arguments of a step; all of them work on the same `state`."""

    def __init__(self, state: tuple[Tensor, ...]) -> None:
        self.state = state
        self.replays: dict[tuple[Any, ...], Callable[[], None]] = {}
        self.pool: Any = None
        """Memory that all graphs share, since they never run at once."""
        self.capture_seconds = 0.0

    def run(self, step: Callable[..., None], *arguments: Any) -> None:
        """Run `step(*arguments)` from its graph, which is captured at the first use."""
        if arguments not in self.replays:
            started = time.perf_counter()
            self.replays[arguments] = self._capture(step, *arguments)
            self.capture_seconds += time.perf_counter() - started
        self.replays[arguments]()

    def _capture(self, step: Callable[..., None], *arguments: Any) -> Callable[[], None]:
        """Capture a graph of the step. The warm-up step before it leaves the state as it was."""
        saved = [tensor.clone() for tensor in self.state]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            step(*arguments)
            for tensor, value in zip(self.state, saved, strict=True):
                tensor.copy_(value)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self.pool, stream=stream):
            step(*arguments)
        self.pool = self.pool or graph.pool()
        replay: Callable[[], None] = graph.replay
        return replay

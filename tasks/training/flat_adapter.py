"""A LoRA adapter's parameters in one contiguous tensor, so that one kernel casts, clips, updates or sends them all."""

from collections.abc import Sequence

import torch


class FlatAdapter:
    """Takes over the storage of `parameters`: each remains usable, as a view of `values` with its gradient in `grads`.

    Consecutive parameters are adjacent in memory, so that [r, n] and [s, n] can be read as one [r + s, n].
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], dtype: torch.dtype) -> None:
        """`dtype`: of products. The parameters themselves become fp32."""
        device, total = parameters[0].device, sum(p.numel() for p in parameters)
        self.values = torch.nn.Parameter(torch.empty(total, device=device, dtype=torch.float32))
        self.grads = torch.zeros_like(self.values.data)
        self.values.grad = self.grads
        self.compute_values = self.values.data if dtype == torch.float32 else torch.empty_like(self.grads, dtype=dtype)
        """`values` in the dtype of products."""
        self._mirrors: list[tuple[torch.Tensor, torch.Tensor, float]] = []
        self._start: dict[torch.nn.Parameter, int] = {}
        start = 0
        for parameter in parameters:
            piece = slice(start, start + parameter.numel())
            self.values.data[piece] = parameter.data.flatten().float()
            self._start[parameter], start = start, piece.stop
        self.attach()
        self.refresh()

    def attach(self) -> None:
        """Make the parameters views again, after a library gave them other storage or removed their gradients."""
        for parameter, start in self._start.items():
            piece = slice(start, start + parameter.numel())
            parameter.data = self.values.data[piece].view(parameter.shape)
            parameter.grad = self.grads[piece].view(parameter.shape)

    def refresh(self) -> None:
        """Update `compute_values` and the mirrors; to be called after each change of `values`."""
        if self.compute_values.dtype != torch.float32:
            self.compute_values.copy_(self.values.data)
        if self._mirrors:
            sources, targets, factors = map(list, zip(*self._mirrors, strict=True))
            torch._foreach_copy_(targets, torch._foreach_mul(sources, factors))

    def mirror_to(self, view: torch.Tensor, target: torch.Tensor, factor: float) -> None:
        """Let each `refresh` write `factor` times a view of the values to `target` as well."""
        self._mirrors.append((view, target, factor))

    def views(self, parameters: Sequence[torch.nn.Parameter]) -> tuple[torch.Tensor, torch.Tensor]:
        """Values in the dtype of products and gradients in fp32 of consecutive parameters, stacked along their rows."""
        start, columns = self._start[parameters[0]], parameters[0].shape[1]
        piece = slice(start, start + sum(p.numel() for p in parameters))
        return self.compute_values[piece].view(-1, columns), self.grads[piece].view(-1, columns)

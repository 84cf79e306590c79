"""A LoRA adapter's parameters in one piece of memory: one kernel casts, clips, updates or sends all of them."""

from collections.abc import Sequence

import torch


class FlatAdapter:
    """Takes over the storage of `parameters`: each stays usable, as a view of `values` with its gradient in `grads`.

    Parameters that follow one another lie side by side, so that [r, n] and [s, n] can be read as one [r + s, n].
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter], dtype: torch.dtype) -> None:
        """`dtype`: what products are computed in. The parameters themselves become fp32."""
        device, total = parameters[0].device, sum(p.numel() for p in parameters)
        self.values = torch.nn.Parameter(torch.empty(total, device=device, dtype=torch.float32))
        self.grads = torch.zeros_like(self.values.data)
        self.values.grad = self.grads
        self.half = self.values.data if dtype == torch.float32 else torch.empty_like(self.grads, dtype=dtype)
        self._copies: list[tuple[torch.Tensor, torch.Tensor, float]] = []
        self._start: dict[torch.nn.Parameter, int] = {}
        start = 0
        for parameter in parameters:
            piece = slice(start, start + parameter.numel())
            self.values.data[piece] = parameter.data.flatten().float()
            parameter.data = self.values.data[piece].view(parameter.shape)
            parameter.grad = self.grads[piece].view(parameter.shape)
            self._start[parameter], start = start, piece.stop
        self.refresh()

    def refresh(self) -> None:
        """Bring `half` up to date with `values`: after each change of them."""
        if self.half.dtype != torch.float32:
            self.half.copy_(self.values.data)
        if self._copies:
            sources, places, factors = map(list, zip(*self._copies, strict=True))
            torch._foreach_copy_(places, torch._foreach_mul(sources, factors))

    def copied_to(self, view: torch.Tensor, place: torch.Tensor, factor: float) -> None:
        """Keep `factor` times a view of the values in `place` as well, from each refresh to the next."""
        self._copies.append((view, place, factor))

    def views(self, parameters: Sequence[torch.nn.Parameter]) -> tuple[torch.Tensor, torch.Tensor]:
        """Values in the dtype of products, and gradients in fp32, of neighbours stacked along their rows."""
        start, columns = self._start[parameters[0]], parameters[0].shape[1]
        piece = slice(start, start + sum(p.numel() for p in parameters))
        return self.half[piece].view(-1, columns), self.grads[piece].view(-1, columns)

"""AdamW over the flat adapter, with gradient clipping; its state as plain tensors."""

from typing import Any

import torch

from tasks.config import TrainConfig
from tasks.training.flat_adapter import FlatAdapter

TINY = 1e-6
"""What transformers adds to the norm it divides by."""


class Optimizer:
    """One update a step, queued on the device without waiting for it."""

    def __init__(self, adapter: FlatAdapter, settings: TrainConfig) -> None:
        self.adapter, self.settings = adapter, settings
        values, device = [adapter.values], adapter.values.device
        how: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
        # bitsandbytes pages optimizer state between GPU and host: without a GPU it is AdamW
        if settings.optimizer == "paged_adamw_8bit" and device.type == "cuda":
            from bitsandbytes.optim.adamw import PagedAdamW8bit

            self.inner: Any = PagedAdamW8bit(values, **how)
        else:
            self.inner = torch.optim.AdamW(values, fused=device.type == "cuda", **how)

    def step(self, rate: float, tokens: int) -> torch.Tensor:
        """Update from the gradients of summed losses over `tokens` tokens, and clear them. Returns their norm as a mean."""
        grads = self.adapter.grads
        grads.div_(tokens)
        norm: torch.Tensor = grads.norm()
        grads.mul_((self.settings.max_gradient_norm / (norm + TINY)).clamp(max=1.0))
        self.inner.param_groups[0]["lr"] = rate
        self.inner.step()
        grads.zero_()
        self.adapter.refresh()
        return norm

    def tensors(self) -> dict[str, torch.Tensor]:
        """Adapter and state, as they are now."""
        state = {name: torch.as_tensor(value) for name, value in self.inner.state[self.adapter.values].items()}
        return {"adapter": self.adapter.values.data} | {f"optimizer.{name}": value for name, value in state.items()}

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Go on from `tensors`."""
        with torch.no_grad():
            self.adapter.values.copy_(tensors["adapter"])
        self.adapter.refresh()
        device = self.adapter.values.device
        state: dict[str, Any] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                key = name.removeprefix("optimizer.")
                if key == "step":  # a count: a tensor to torch, a number to bitsandbytes
                    state[key] = int(value) if self._counts else value.to(device if self._fused else "cpu")
                else:
                    state[key] = value.to(device)
        self.inner.state[self.adapter.values] = state

    @property
    def _fused(self) -> bool:
        return bool(self.inner.param_groups[0].get("fused"))

    @property
    def _counts(self) -> bool:
        return not isinstance(self.inner, torch.optim.AdamW)

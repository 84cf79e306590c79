"""AdamW with gradient clipping over the flat adapter; its state is readable as plain tensors."""

from typing import Any

import torch

from tasks.config import TrainConfig
from tasks.training.flat_adapter import FlatAdapter

CLIP_EPSILON = 1e-6
"""Added to the norm before the division, as in transformers."""


class Optimizer:
    """One update per step, queued on the device without waiting for it."""

    def __init__(self, adapter: FlatAdapter, settings: TrainConfig) -> None:
        self.adapter, self.settings = adapter, settings
        values, device = [adapter.values], adapter.values.device
        options: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
        # bitsandbytes pages the state between GPU and host, so without a GPU the optimizer is plain AdamW
        if settings.optimizer == "paged_adamw_8bit" and device.type == "cuda":
            from bitsandbytes.optim.adamw import PagedAdamW8bit

            self.torch_optimizer: Any = PagedAdamW8bit(values, **options)
        else:
            self.torch_optimizer = torch.optim.AdamW(values, fused=device.type == "cuda", **options)

    def step(self, learning_rate: float, count: int) -> torch.Tensor:
        """Update the adapter from the sum of `count` gradients, of tokens or pairs, and clear it.

        Returns the norm of the mean gradient before clipping.
        """
        grads = self.adapter.grads
        grads.div_(count)
        norm: torch.Tensor = grads.norm()
        grads.mul_((self.settings.max_gradient_norm / (norm + CLIP_EPSILON)).clamp(max=1.0))
        self.torch_optimizer.param_groups[0]["lr"] = learning_rate
        self.torch_optimizer.step()
        grads.zero_()
        self.adapter.refresh()
        return norm

    def tensors(self) -> dict[str, torch.Tensor]:
        """Adapter and optimizer state by name."""
        state = {
            name: torch.as_tensor(value) for name, value in self.torch_optimizer.state[self.adapter.values].items()
        }
        return {"adapter": self.adapter.values.data} | {f"optimizer.{name}": value for name, value in state.items()}

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Continue from `tensors`, as `tensors()` returned them."""
        with torch.no_grad():
            self.adapter.values.copy_(tensors["adapter"])
        self.adapter.refresh()
        device = self.adapter.values.device
        state: dict[str, Any] = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                key = name.removeprefix("optimizer.")
                if key == "step":  # torch stores the count as a tensor, bitsandbytes as a number
                    state[key] = int(value) if self._is_bitsandbytes else value.to(device if self._fused else "cpu")
                else:
                    state[key] = value.to(device)
        self.torch_optimizer.state[self.adapter.values] = state

    @property
    def _fused(self) -> bool:
        return bool(self.torch_optimizer.param_groups[0].get("fused"))

    @property
    def _is_bitsandbytes(self) -> bool:
        return not isinstance(self.torch_optimizer, torch.optim.AdamW)

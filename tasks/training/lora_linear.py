"""Frozen linears with LoRA beside them, computed together where they read the same input; gradients for LoRA only.

y = x W' + s (x A') B', with W [out, in] frozen, A [r, in] and B [out, r]. Linears that share x (q, k, v; gate, up) have
their W and A stacked: one product each. Gradients of A and B are added to FlatAdapter's fp32 ones in place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tasks.training.flat_adapter import FlatAdapter


def lora_of(module: Any) -> tuple[torch.nn.Parameter, torch.nn.Parameter] | None:
    """A and B of a peft module, None if it is none."""
    adapters = getattr(module, "lora_A", None)
    return (adapters["default"].weight, module.lora_B["default"].weight) if adapters else None


def adapter_order(sites: Sequence[Sequence[Any]]) -> list[torch.nn.Parameter]:
    """All A and B of the sites' linears, in the order that FlatAdapter must have: the A of a site side by side."""
    found = []
    for modules in sites:
        pairs = [pair for pair in map(lora_of, modules) if pair]
        found += [a for a, _ in pairs] + [b for _, b in pairs]
    return found


class Weight:
    """The stacked frozen weight of linears that share an input, in the dtype of products.

    The linears keep working: an unquantized one becomes a view of the stack. An NF4 one stays as it is and is unpacked
    for each use.
    """

    def __init__(self, linears: Sequence[torch.nn.Linear], dtype: torch.dtype, rows: int = 0, columns: int = 0) -> None:
        """`rows`, `columns`: what is left free beside an unquantized stack in `wide`."""
        self.sizes = [linear.out_features for linear in linears]
        self.columns, self.dtype = linears[0].in_features, dtype
        self.packed = [linear.weight for linear in linears if hasattr(linear.weight, "quant_state")]
        if not self.packed:
            out, device = sum(self.sizes), linears[0].weight.device
            self.wide = torch.zeros(out + rows, self.columns + columns, dtype=dtype, device=device)
            self.stack = self.wide[:out, : self.columns]
            for linear, piece in zip(linears, self.stack.split(self.sizes), strict=True):
                linear.weight.data = piece.copy_(linear.weight.data)
        for weight in self.packed:
            weight.quant_state.dtype = dtype

    def __call__(self) -> torch.Tensor:
        """[out, in]."""
        if not self.packed:
            return self.stack
        from bitsandbytes.functional import dequantize_4bit

        device = self.packed[0].device
        stack = torch.empty(sum(self.sizes), self.columns, dtype=self.dtype, device=device)
        for weight, rows in zip(self.packed, stack.split(self.sizes), strict=True):
            if device.type == "cuda":
                dequantize_4bit(weight.data, weight.quant_state, out=rows)
            else:  # bitsandbytes writes into given memory on GPUs only
                rows.copy_(dequantize_4bit(weight.data, weight.quant_state))
        return stack


@dataclass(frozen=True)
class Part:
    """B of one linear of a site."""

    rows: slice
    """Of the site's outputs."""
    ranks: slice
    """Of the site's stacked A."""
    b: torch.Tensor
    grad: torch.Tensor


class Site:
    """Linears that read the same input, R ranks in all.

    Joined, which is wherever the weights are not packed and R is a multiple of 8, the adapter's thin products ride in the frozen ones instead of passing over the largest matrices again:
    y = [x, x A'] [W, s B]' where out > in, [y, x A'] = x [W; A]' where not; A or s B lie beside W, fresh after each step.
    """

    def __init__(self, modules: Sequence[Any], adapter: FlatAdapter, dtype: torch.dtype) -> None:
        """`modules`: peft modules, or plain linears where no adapter was asked for."""
        linears = [getattr(module, "base_layer", module) for module in modules]
        ranks_in_all = sum(pair[0].shape[0] for pair in map(lora_of, modules) if pair)
        packed = any(hasattr(linear.weight, "quant_state") for linear in linears)
        self.joined = not packed and ranks_in_all > 0 and ranks_in_all % 8 == 0
        self.expands = sum(linear.out_features for linear in linears) > linears[0].in_features
        beside = ranks_in_all if self.joined else 0
        self.weight = Weight(linears, dtype, *((0, beside) if self.expands else (beside, 0)))
        self.parts: list[Part] = []
        self.scale, row, rank, a_parameters = 1.0, 0, 0, []
        for module, size in zip(modules, self.weight.sizes, strict=True):
            if pair := lora_of(module):
                a, b = pair
                a_parameters.append(a)
                self.scale = module.scaling["default"]
                ranks = slice(rank, rank + a.shape[0])
                self.parts.append(Part(slice(row, row + size), ranks, *adapter.views([b])))
                rank = ranks.stop
            row += size
        if a_parameters:
            self.a, self.grad_a = adapter.views(a_parameters)
        if self.joined and self.expands:
            columns = self.weight.columns
            for part in self.parts:
                beside_w = self.weight.wide[part.rows, columns + part.ranks.start : columns + part.ranks.stop]
                adapter.copied_to(part.b, beside_w, self.scale)
        elif self.joined:
            adapter.copied_to(self.a, self.weight.wide[row:], 1.0)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[T, in] -> y [T, out] and x A' [T, R], which the backward pass needs."""
        if self.joined and self.expands:
            low = x @ self.a.t()
            return torch.cat([x, low], 1) @ self.weight.wide.t(), low
        if self.joined:
            y, low = (x @ self.weight.wide.t()).split([sum(self.weight.sizes), self.a.shape[0]], 1)
            low = low.contiguous()
        else:
            y = x @ self.weight().t()
            low = x @ self.a.t() if self.parts else x.new_empty(0)
        for part in self.parts:
            y[:, part.rows].addmm_(low[:, part.ranks], part.b.t(), alpha=self.scale)
        return y, low

    def input_gradient(self, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[T, out] -> the gradient of x [T, in], and of x A' [T, R]."""
        if self.joined and self.expands:
            back, low = (grad @ self.weight.wide).split([self.weight.columns, self.a.shape[0]], 1)
            back.addmm_(low, self.a)
            return back, low
        if not self.parts:
            return grad @ self.weight(), grad.new_empty(0)
        low = torch.cat([grad[:, part.rows] @ part.b for part in self.parts], 1).mul_(self.scale)
        if self.joined:
            return torch.cat([grad, low], 1) @ self.weight.wide, low
        back = grad @ self.weight()
        back.addmm_(low, self.a)
        return back, low

    def add_gradients(self, grad: torch.Tensor, grad_low: torch.Tensor, x: torch.Tensor, low: torch.Tensor) -> None:
        """Add this pass's gradients of A and B."""
        if self.parts:
            self.grad_a.add_(grad_low.t() @ x)
        for part in self.parts:
            part.grad.add_(grad[:, part.rows].t() @ low[:, part.ranks], alpha=self.scale)

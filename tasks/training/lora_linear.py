"""Frozen linears with LoRA, computed together where they read the same input; gradients for LoRA only.

y = x W' + s (x A') B', with W [out, in] frozen, A [r, in] and B [out, r]. Linears that share x (q, k, v; gate, up) have
their W and A stacked, so there is one matrix product for each. Gradients of A and B are added to FlatAdapter's fp32
gradients in place. R: ranks of all linears of a group together. `x A'` is called the LoRA hidden state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tasks.training.flat_adapter import FlatAdapter


def lora_matrices(module: Any) -> tuple[torch.nn.Parameter, torch.nn.Parameter] | None:
    """A and B of a peft module; None for a module without LoRA."""
    adapters = getattr(module, "lora_A", None)
    return (adapters["default"].weight, module.lora_B["default"].weight) if adapters else None


def adapter_order(groups: Sequence[Sequence[Any]]) -> list[torch.nn.Parameter]:
    """All A and B of the groups' linears in the order that FlatAdapter needs: the A of a group next to each other."""
    parameters = []
    for modules in groups:
        pairs = [pair for pair in map(lora_matrices, modules) if pair]
        parameters += [a for a, _ in pairs] + [b for _, b in pairs]
    return parameters


class FrozenWeight:
    """The stacked frozen weight of linears that share an input, in the dtype of products.

    The linears remain usable: an unquantized weight becomes a view of the stack. An NF4 weight stays as it is and is
    dequantized for each use.
    """

    def __init__(
        self, linears: Sequence[torch.nn.Linear], dtype: torch.dtype, extra_rows: int = 0, extra_columns: int = 0
    ) -> None:
        """`extra_rows`, `extra_columns`: space for LoRA beside an unquantized stack in `padded_weight`."""
        self.out_sizes = [linear.out_features for linear in linears]
        self.in_features, self.dtype = linears[0].in_features, dtype
        self.quantized = [linear.weight for linear in linears if hasattr(linear.weight, "quant_state")]
        if not self.quantized:
            out, device = sum(self.out_sizes), linears[0].weight.device
            shape = (out + extra_rows, self.in_features + extra_columns)
            self.padded_weight = torch.zeros(*shape, dtype=dtype, device=device)
            self.stack = self.padded_weight[:out, : self.in_features]
            for linear, rows in zip(linears, self.stack.split(self.out_sizes), strict=True):
                linear.weight.data = rows.copy_(linear.weight.data)
        for weight in self.quantized:
            weight.quant_state.dtype = dtype

    def __call__(self) -> torch.Tensor:
        """[out, in]."""
        if not self.quantized:
            return self.stack
        from bitsandbytes.functional import dequantize_4bit

        device = self.quantized[0].device
        stack = torch.empty(sum(self.out_sizes), self.in_features, dtype=self.dtype, device=device)
        for weight, rows in zip(self.quantized, stack.split(self.out_sizes), strict=True):
            if device.type == "cuda":
                dequantize_4bit(weight.data, weight.quant_state, out=rows)
            else:  # bitsandbytes writes to existing memory on GPUs only
                rows.copy_(dequantize_4bit(weight.data, weight.quant_state))
        return stack


@dataclass(frozen=True)
class LoraOutput:
    """B of one linear of a group."""

    rows: slice
    """Of the group's outputs."""
    ranks: slice
    """Of the group's stacked A."""
    b: torch.Tensor
    grad: torch.Tensor


class LoraLinearGroup:
    """Linears that read the same input.

    If the weights are not quantized and R is a multiple of 8, the group is fused: LoRA's thin products are part of the
    frozen ones instead of passing over the largest matrices again.
    y = [x, x A'] [W, s B]' where out > in, else [y, x A'] = x [W; A]'. A or s B lie beside W and are updated after each
    step.
    """

    def __init__(self, modules: Sequence[Any], adapter: FlatAdapter, dtype: torch.dtype) -> None:
        """`modules`: peft modules, or plain linears where the recipe has no adapter."""
        linears = [getattr(module, "base_layer", module) for module in modules]
        total_rank = sum(pair[0].shape[0] for pair in map(lora_matrices, modules) if pair)
        quantized = any(hasattr(linear.weight, "quant_state") for linear in linears)
        self.fused = not quantized and total_rank > 0 and total_rank % 8 == 0
        self.expands = sum(linear.out_features for linear in linears) > linears[0].in_features
        extra = total_rank if self.fused else 0
        self.weight = FrozenWeight(linears, dtype, *((0, extra) if self.expands else (extra, 0)))
        self.outputs: list[LoraOutput] = []
        self.scale, row, rank, a_parameters = 1.0, 0, 0, []
        for module, size in zip(modules, self.weight.out_sizes, strict=True):
            if pair := lora_matrices(module):
                a, b = pair
                a_parameters.append(a)
                self.scale = module.scaling["default"]
                ranks = slice(rank, rank + a.shape[0])
                self.outputs.append(LoraOutput(slice(row, row + size), ranks, *adapter.views([b])))
                rank = ranks.stop
            row += size
        if a_parameters:
            self.a, self.grad_a = adapter.views(a_parameters)
        if self.fused and self.expands:
            columns = self.weight.in_features
            for output in self.outputs:
                b_columns = slice(columns + output.ranks.start, columns + output.ranks.stop)
                adapter.mirror_to(output.b, self.weight.padded_weight[output.rows, b_columns], self.scale)
        elif self.fused:
            adapter.mirror_to(self.a, self.weight.padded_weight[row:], 1.0)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[T, in] -> y [T, out] and the LoRA hidden state [T, R], which the backward pass needs."""
        if self.fused and self.expands:
            lora_hidden = x @ self.a.t()
            return torch.cat([x, lora_hidden], 1) @ self.weight.padded_weight.t(), lora_hidden
        if self.fused:
            sizes = [sum(self.weight.out_sizes), self.a.shape[0]]
            y, lora_hidden = (x @ self.weight.padded_weight.t()).split(sizes, 1)
            lora_hidden = lora_hidden.contiguous()
        else:
            y = x @ self.weight().t()
            lora_hidden = x @ self.a.t() if self.outputs else x.new_empty(0)
        for output in self.outputs:
            y[:, output.rows].addmm_(lora_hidden[:, output.ranks], output.b.t(), alpha=self.scale)
        return y, lora_hidden

    def input_gradient(self, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradient of y [T, out] -> gradients of x [T, in] and of the LoRA hidden state [T, R]."""
        if self.fused and self.expands:
            sizes = [self.weight.in_features, self.a.shape[0]]
            grad_x, grad_hidden = (grad @ self.weight.padded_weight).split(sizes, 1)
            grad_x.addmm_(grad_hidden, self.a)
            return grad_x, grad_hidden
        if not self.outputs:
            return grad @ self.weight(), grad.new_empty(0)
        grad_hidden = torch.cat([grad[:, output.rows] @ output.b for output in self.outputs], 1).mul_(self.scale)
        if self.fused:
            return torch.cat([grad, grad_hidden], 1) @ self.weight.padded_weight, grad_hidden
        grad_x = grad @ self.weight()
        grad_x.addmm_(grad_hidden, self.a)
        return grad_x, grad_hidden

    def add_gradients(
        self, grad: torch.Tensor, grad_hidden: torch.Tensor, x: torch.Tensor, lora_hidden: torch.Tensor
    ) -> None:
        """Add this pass's gradients of A and B."""
        if self.outputs:
            self.grad_a.add_(grad_hidden.t() @ x)
        for output in self.outputs:
            output.grad.add_(grad[:, output.rows].t() @ lora_hidden[:, output.ranks], alpha=self.scale)

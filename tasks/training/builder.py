"""Build the model that is trained: the base model with a new adapter, and the packed model over it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import set_seed

from tasks.config import TrainSpec
from tasks.models.loading import load_model, nf4_config
from tasks.training.cuda_graphs import GraphedPackedModel
from tasks.training.flat_adapter import FlatAdapter
from tasks.training.packed_model import PackedModel
from tasks.training.packing import Pack


class Trainable(Protocol):
    """What the training loop needs of a model."""

    adapter: FlatAdapter
    device: torch.device
    dtype: torch.dtype
    vocabulary: int

    def select_warm_up(self, packs: Sequence[Sequence[int]]) -> list[int]:
        """Called with the row lengths of every upcoming pack; returns the indexes of those to run during warm-up."""
        ...

    def loss(self, pack: Pack) -> torch.Tensor:
        """Sum over the labelled tokens; `backward` on it adds the gradients to the adapter's."""
        ...


def load_peft_model(spec: TrainSpec, device: torch.device, dtype: torch.dtype) -> Any:
    """The frozen base model with a new adapter in fp32; the matrices A are drawn from the seed."""
    settings = spec.train
    options: dict[str, Any] = {"device_map": {"": device}} if device.type == "cuda" else {}
    if spec.quantization == "nf4":
        options["quantization_config"] = nf4_config(dtype)
    # on a CPU embedding and norms stay fp32; PackedModel casts the linears
    base: Any = load_model(spec.model, torch.float32 if device.type == "cpu" else dtype, **options)
    lora = LoraConfig(
        r=settings.lora.rank,
        lora_alpha=settings.lora.alpha,
        lora_dropout=settings.lora.dropout,
        target_modules=list(settings.lora.targets),
        use_rslora=settings.lora.rslora,
        use_dora=settings.lora.dora,
        task_type=TaskType.CAUSAL_LM,
    )
    set_seed(settings.seed)
    model: Any = get_peft_model(base, lora)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    for module in model.modules():
        # On a CPU with bf16 instructions bitsandbytes repacks its weights at the first evaluation, for a kernel
        # without gradients: training would continue with wrong gradients, and the loss would look healthy.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model


def build_packed(model: Any, dtype: torch.dtype, smoothing: float = 0.0) -> PackedModel | GraphedPackedModel:
    """The packed model over a peft model that it supports; on a GPU, with CUDA graphs."""
    packed = PackedModel(model, dtype, smoothing)
    return GraphedPackedModel(packed) if packed.device.type == "cuda" else packed


def compute_dtype(device: torch.device) -> tuple[torch.dtype, str]:
    """The dtype of matrix products, and the reason."""
    if device.type == "cpu":
        if cpu_has_bf16():
            return torch.bfloat16, "this CPU has bf16 instructions"
        return torch.float32, "this CPU has no bf16 instructions"
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16, "this GPU has bf16 instructions"
    return torch.float32, "this GPU has no bf16, and fp16 overflows in the models trained here"


def cpu_has_bf16() -> bool:
    """Whether this CPU has bf16 instructions; without them bf16 is slower than fp32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return bool(torch.backends.cpu.get_cpu_capability().startswith("AVX512")) and "avx512_bf16" in flags

"""How many tokens fit into memory at once, and which errors mean that memory ran out."""

from typing import Any

import torch

CPU_TOKENS = 1024
"""Tokens of a micro-batch on a CPU. Fixed, so that the adapter's bytes do not depend on what else runs."""
FREE_MEMORY_FRACTION = 0.8
"""Fraction of the free GPU memory that is used."""
MAX_TOKENS = 1 << 15
"""Larger micro-batches are no faster on any GPU."""


def bytes_per_token(config: Any, itemsize: int) -> int:
    """What the packed model keeps of a token for the backward pass: 6 d + 2 m numbers per layer.

    Measured on an H200 with Gemma-2B's shape: 1.5 MB more for each token; computed: 1.6.
    """
    return int(config.num_hidden_layers * (6 * config.hidden_size + 2 * config.intermediate_size) * itemsize)


def token_budget(device: torch.device, config: Any, itemsize: int, padded: bool) -> int:
    """Tokens of a micro-batch. On a GPU a power of two, so that small differences in free memory change nothing."""
    if device.type == "cpu":
        return CPU_TOKENS
    free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    # the modules of transformers keep about four times as much, and padding comes on top
    per_token = bytes_per_token(config, itemsize) * (8 if padded else 1)
    fits = int(FREE_MEMORY_FRACTION * free) // per_token
    return max(1, min(MAX_TOKENS, 1 << max(0, fits.bit_length() - 1)))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out: of the device, or of the host for a tensor."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    messages = ("CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "DefaultCPUAllocator: can't allocate memory")
    return isinstance(error, RuntimeError) and any(message in str(error) for message in messages)

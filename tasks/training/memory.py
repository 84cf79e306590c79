"""How many tokens go through the model at once, from the memory that is free, and what counts as running out of it."""

from typing import Any

import torch

ON_CPU = 1024
"""Tokens at once on a CPU. Fixed, so that the sums, and the adapter's bytes, do not hang on what else runs here."""
SHARE = 0.8
"""Of the free GPU memory that is planned with."""
AT_MOST = 1 << 15
"""More tokens at once gain nothing on any GPU."""


def bytes_per_token(config: Any, itemsize: int) -> int:
    """What the decoder keeps of a token for the backward pass: 6 d + 2 m numbers a layer.

    Measured on an H200 with Gemma-2B's shape: 1.5 MB more for each token, computed 1.6.
    """
    return int(config.num_hidden_layers * (6 * config.hidden_size + 2 * config.intermediate_size) * itemsize)


def budget(device: torch.device, config: Any, itemsize: int, padded: bool) -> int:
    """Tokens a micro-batch may have. On a GPU a power of two, so that small differences of free memory change nothing."""
    if device.type == "cpu":
        return ON_CPU
    free = torch.cuda.mem_get_info()[0] + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    # transformers' modules keep about four times as much, and padding comes on top
    each = bytes_per_token(config, itemsize) * (8 if padded else 1)
    fits = int(SHARE * free) // each
    return max(1, min(AT_MOST, 1 << max(0, fits.bit_length() - 1)))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: of the device, or of the host for a tensor."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    words = ("CUDA out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "DefaultCPUAllocator: can't allocate memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)

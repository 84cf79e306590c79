"""The GPUs that this process may use, found without importing torch, and how they are divided among workers."""

import os
import subprocess
from functools import cache

from artifacts.errors import RequestError


def visible_gpus() -> int:
    """Number of GPUs that this process may use."""
    return len(gpu_names())


def gpu_names() -> list[str]:
    """The name of each GPU that this process may use, as CUDA_VISIBLE_DEVICES spells it."""
    variable = os.environ.get("CUDA_VISIBLE_DEVICES")
    if variable is not None:
        names = [name.strip() for name in variable.split(",")]
        invalid = [i for i, name in enumerate(names) if name in ("", "-1")]  # CUDA stops at the first invalid name
        return names[: invalid[0]] if invalid else names
    return list(_driver_gpus())


@cache
def _driver_gpus() -> tuple[str, ...]:
    """GPU indices that the driver lists. Cached, since GPUs do not change while a process runs."""
    try:
        command = ["nvidia-smi", "-L"]
        listing = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(str(i) for i in range(sum(line.startswith("GPU ") for line in listing.splitlines())))


def process_count(device: str, gpus: int | None) -> int:
    """Number of worker processes for runtime.device and runtime.gpus: one per visible GPU, or one on the CPU.

    RequestError if runtime.gpus exceeds the number of visible GPUs.
    """
    visible = 0 if device == "cpu" else visible_gpus()
    processes = max(1, visible if gpus is None else gpus)
    if visible and processes > visible:
        raise RequestError(
            f"runtime.gpus is {processes}, but only {visible} can be seen on this machine: lower runtime.gpus, "
            "or name more GPUs in CUDA_VISIBLE_DEVICES"
        )
    return processes


def worker_environments(device: str, gpus: int | None, batches: int) -> list[dict[str, str]]:
    """The environment of each worker: one worker per GPU, and none without a batch. RequestError as `process_count`."""
    processes = min(process_count(device, gpus), max(1, batches))
    names = [] if device == "cpu" else gpu_names()
    return (
        [{"CUDA_VISIBLE_DEVICES": names[i]} for i in range(processes)] if names and processes > 1 else [{}] * processes
    )

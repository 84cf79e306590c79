"""What the machine has, found without importing torch."""

import os
import subprocess
from functools import cache


def visible_gpus() -> int:
    """GPUs this process may use, without importing torch."""
    return len(gpu_names())


def gpu_names() -> list[str]:
    """What CUDA_VISIBLE_DEVICES calls each GPU that this process may use."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        names = [name.strip() for name in named.split(",")]
        ends = [i for i, name in enumerate(names) if name in ("", "-1")]  # CUDA reads as far as the first that is none
        return names[: ends[0]] if ends else names
    return list(_listed())


@cache
def _listed() -> tuple[str, ...]:
    """Asked once: GPUs do not come and go."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True).stdout  # noqa: S607
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(str(i) for i in range(sum(line.startswith("GPU ") for line in listed.splitlines())))

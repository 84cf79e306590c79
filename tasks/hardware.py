"""What this machine has, asked without importing torch."""

import os
import shutil
import subprocess


def visible_gpus() -> int:
    """GPUs this process may use, without importing torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        listed = [name.strip() for name in named.split(",")]
        return next((at for at, name in enumerate(listed) if name in ("", "-1")), len(listed))
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    try:
        told = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in told.splitlines())

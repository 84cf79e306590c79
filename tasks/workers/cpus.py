"""The CPU cores that this process may use, and how they are divided among workers."""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Number of cores that this process may use: those of its cpuset, or fewer if its cgroup has a lower quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota(CGROUPS)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def cgroup_quota(folder: Path) -> float | None:
    """Cores' worth of time that the cgroup mounted at `folder` allows, of version 2 or 1; None without a limit.

    Inside of a container, the container's own cgroup is mounted there.
    """
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            quota, period = ((folder / "cpu" / name).read_text().strip() for name in names)
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def cpu_threads(threads: int | None, processes: int) -> int:
    """Threads of one of `processes` workers: `threads` (runtime.threads), or an equal part of the usable cores."""
    return threads or max(1, usable_cores() // processes)

"""The CPU cores that this process may use, and how they are divided among workers."""

import os


def usable_cores() -> int:
    """Number of cores that this process may run on: in a cpuset, fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_threads(threads: int | None, processes: int) -> int:
    """Threads of one of `processes` workers: `threads` (runtime.threads), or an equal part of the usable cores."""
    return threads or max(1, usable_cores() // processes)

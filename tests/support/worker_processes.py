"""The worker processes that this process has started."""

import os

import psutil


def worker_processes(module: str) -> list[psutil.Process]:
    """Those that run `module` and have not ended."""
    children = [child for child in psutil.process_iter(["ppid", "cmdline"]) if child.info["ppid"] == os.getpid()]
    # a process that has ended and is not yet waited for has no command line
    return [child for child in children if module in (child.info["cmdline"] or [])]

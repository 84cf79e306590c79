"""The GPU gate: a lease on a Prefect global concurrency limit, so that two runs never share a GPU.

A lease that its holder no longer renews, because the process was killed, falls back after at most a minute. Without a
server's deployment and without DIALOGSUM_GPU_LIMIT there is no gate, and the server is not asked.

While the server is away nobody can renew a lease, so the holder may lose it and goes on all the same. A lock of this
machine keeps the next run, to which the server then gives the slot, from the GPU until the holder has left it.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from prefect import get_client, get_run_logger
from prefect.context import FlowRunContext

from tasks.concurrency_lease import hold_slot
from tasks.server_outage import retry
from tasks.workers.gpus import gpu_names

GPU_LIMIT_VARIABLE = "DIALOGSUM_GPU_LIMIT"
"""Names the limit to hold: one for each machine with GPUs that are used together."""
POLL = 1.0
"""Seconds between looks at the locks of this machine."""


def is_deployment_run() -> bool:
    """Whether this run belongs to a deployment; asks no server."""
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.deployment_id)


@contextmanager
def hold_gpu(pool: str) -> Iterator[None]:
    """Wait for the GPU and hold it. StageError if the server has no such limit."""
    limit = os.environ.get(GPU_LIMIT_VARIABLE) or ("gpu" if is_deployment_run() else None)
    if pool != "gpu" or limit is None:
        yield
        return
    logger, asked = get_run_logger(), time.monotonic()
    without = "" if gpu_names() else "; this machine has no GPU, so the slot lets one run at a time use the CPU"
    logger.info("waiting for the GPU slot (limit %r)%s", limit, without)
    with hold_slot(limit), _locked(limit):
        logger.info("got the GPU slot after %.0f s", time.monotonic() - asked)
        yield


@contextmanager
def _locked(limit: str) -> Iterator[None]:
    """Hold one of as many locks of this machine as the limit has slots."""
    locks, waiting = _locks(limit), False
    while (lock := next(filter(_acquired, locks), None)) is None:
        if not waiting:
            get_run_logger().warning(
                "a run on this machine still uses the GPU, although the server gave its slot of %r away: waiting", limit
            )
            waiting = True
        time.sleep(POLL)
    try:
        yield
    finally:
        lock.release()


def _locks(limit: str) -> list[FileLock]:
    """Named by the id of the limit, which tells servers apart whatever address they are asked at."""
    with get_client(sync_client=True) as client:
        slots = retry(client.read_global_concurrency_limit_by_name, limit)
    folder = Path(tempfile.gettempdir())
    return [FileLock(str(folder / f"dialogsum-{slots.id}-{n}.lock"), mode=0o666) for n in range(slots.limit)]


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True

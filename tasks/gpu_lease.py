"""The GPU lease: a slot of a Prefect global concurrency limit, so that two runs never share a GPU.

If the holder is killed and no longer renews the lease, the slot is free again after at most a minute. A run that
belongs to no deployment takes a lease only if DIALOGSUM_GPU_LIMIT is set; otherwise it sends no request.

During an outage of the server a lease cannot be renewed, so its holder may lose the slot while it keeps working. The
server then gives the slot to the next run, which a lock on this machine keeps off the GPU until the holder is done.
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
"""Environment variable with the name of the limit: one per machine whose GPUs are used together."""
LOCK_POLL_SECONDS = 1.0
"""Pause between two attempts to take a lock of this machine, s."""


def is_deployment_run() -> bool:
    """Whether this run belongs to a deployment. Sends no request."""
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.deployment_id)


@contextmanager
def hold_gpu(pool: str) -> Iterator[None]:
    """Wait for the GPU and hold it, if `pool` is `gpu`. StageError if the server has no such limit."""
    limit = os.environ.get(GPU_LIMIT_VARIABLE) or ("gpu" if is_deployment_run() else None)
    if pool != "gpu" or limit is None:
        yield
        return
    logger, started = get_run_logger(), time.monotonic()
    without = "" if gpu_names() else "; this machine has no GPU, so the slot lets one run at a time use the CPU"
    logger.info("waiting for the GPU slot (limit %r)%s", limit, without)
    with hold_slot(limit), _locked(limit):
        logger.info("got the GPU slot after %.0f s", time.monotonic() - started)
        yield


@contextmanager
def _locked(limit: str) -> Iterator[None]:
    """Hold a lock of this machine; there are as many as the limit has slots."""
    locks, waiting = _locks(limit), False
    while (lock := next(filter(_acquired, locks), None)) is None:
        if not waiting:
            get_run_logger().warning(
                "waiting: a run on this machine still uses the GPU, although it has lost its slot of %r", limit
            )
            waiting = True
        time.sleep(LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        lock.release()


def _locks(limit: str) -> list[FileLock]:
    """Their names contain the id of the limit, which differs between servers, whatever their address."""
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

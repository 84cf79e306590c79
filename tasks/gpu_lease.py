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
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from filelock import FileLock, Timeout
from prefect import get_client, get_run_logger
from prefect.client.orchestration import SyncPrefectClient
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from tasks.concurrency_lease import hold_slot, no_slot
from tasks.workers.gpus import gpu_names

GPU_LIMIT_VARIABLE = "DIALOGSUM_GPU_LIMIT"
"""Environment variable with the name of the limit: one per machine whose GPUs are used together."""
LEASES_IN_MEMORY = "prefect.server.concurrency.lease_storage.memory"
"""Prefect's default of the server's setting PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE."""
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
    with _slot(limit), _locked(limit):
        logger.info("got the GPU slot after %.0f s", time.monotonic() - started)
        yield


def _slot(limit: str) -> AbstractContextManager[None]:
    """The slot of the limit; nothing on a server whose slots stay taken forever once it has forgotten their leases."""
    with get_client(sync_client=True) as client:
        if not forgets_leases(client):
            return hold_slot(limit)
    get_run_logger().warning(
        "the Prefect server keeps leases in its memory, so a slot of %r would stay taken after its restart: only a "
        "lock of this machine keeps other runs off the GPU (`dialogsum doctor` names the setting of the server)",
        limit,
    )
    return nullcontext()


def forgets_leases(client: SyncPrefectClient) -> bool:
    """Whether a restart of the server ends all leases, but frees no slot. Prefect Cloud has no such settings."""
    try:
        settings = client.request("GET", "/admin/settings").json()
    except PrefectHTTPStatusError:
        return False
    return bool(settings["server"]["concurrency"]["lease_storage"] == LEASES_IN_MEMORY)


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
        try:
            slots = client.read_global_concurrency_limit_by_name(limit)
        except ObjectNotFound as error:
            raise no_slot(limit, "there is no such limit") from error
    folder = Path(tempfile.gettempdir())
    return [FileLock(str(folder / f"dialogsum-{slots.id}-{n}.lock"), mode=0o666) for n in range(slots.limit)]


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True

"""The GPU gate: a lease on a Prefect global concurrency limit, so that two runs never share a GPU.

A lease that its holder no longer renews, because the process was killed, falls back after at most a minute. Without a
server's deployment and without DIALOGSUM_GPU_LIMIT there is no gate, and the server is not asked.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect import get_run_logger
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.context import FlowRunContext

from artifacts.errors import StageError, one_line
from tasks.hardware import gpu_names

LIMIT = "DIALOGSUM_GPU_LIMIT"
"""Names the limit to hold: one for each machine with GPUs that are used together."""
LEASE = 60.0
"""Seconds that a slot stays taken after its holder died."""


def deployed() -> bool:
    """Whether this run belongs to a deployment; asks no server."""
    context = FlowRunContext.get()
    return bool(context and context.flow_run and context.flow_run.deployment_id)


@contextmanager
def gpu_gate(pool: str) -> Iterator[None]:
    """Wait for the GPU and hold it. StageError if the server has no such limit."""
    limit = os.environ.get(LIMIT) or ("gpu" if deployed() else None)
    if pool != "gpu" or limit is None:
        yield
        return
    logger, asked = get_run_logger(), time.monotonic()
    without = "" if gpu_names() else "; this machine has no GPU, so the slot lets one run at a time use the CPU"
    logger.info("waiting for the GPU slot (limit %r)%s", limit, without)
    try:
        with concurrency(limit, strict=True, lease_duration=LEASE):
            logger.info("got the GPU slot after %.0f s", time.monotonic() - asked)
            yield
    except ConcurrencySlotAcquisitionError as error:
        raise StageError(
            f"no slot of the concurrency limit {limit!r} to be had ({one_line(error, 120)}): `dialogsum station up` makes "
            f"the limit, or `prefect gcl create {limit} --limit 1`"
        ) from error

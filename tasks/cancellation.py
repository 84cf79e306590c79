"""Cancelling a run whose worker no longer hears of it.

Prefect's observer of cancellations gives up after an outage of the server of about half a minute, for as long as the run
lasts. The run would be marked as cancelled, and go on.
"""

import os
import signal
from datetime import timedelta
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient
from prefect.runtime import flow_run
from prefect.states import Cancelled
from prefect.types._datetime import now

GRACE = timedelta(seconds=45)
"""Within which a worker ends a run that is cancelled: it gives the run 30 s."""


def stop_if_cancelled(client: SyncPrefectClient) -> None:
    """End this process, as its worker would, if its flow run was cancelled and the worker has not ended it."""
    run = UUID(str(flow_run.id))
    state = client.read_flow_run(run).state
    if state is None or not (state.is_cancelling() or state.is_cancelled()) or now("UTC") - state.timestamp < GRACE:
        return
    get_run_logger().warning("this run was cancelled and its worker has not ended it: it ends itself")
    if state.is_cancelling():
        client.set_flow_run_state(run, Cancelled(message="ended by itself, for its worker did not end it"))
    os.kill(os.getpid(), signal.SIGTERM)

"""Cancellation of a run whose worker no longer notices it.

After an outage of the server of about half a minute, Prefect's worker stops looking for cancellations of a run. The run
would be marked as cancelled, but continue.
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

WORKER_GRACE = timedelta(seconds=45)
"""Time in which a worker ends a cancelled run; the worker allows the run 30 s to stop."""


def stop_if_cancelled(client: SyncPrefectClient) -> None:
    """End this process, as its worker would, if its flow run was cancelled and the worker has not done so."""
    run = UUID(str(flow_run.id))
    state = client.read_flow_run(run).state
    if (
        state is None
        or not (state.is_cancelling() or state.is_cancelled())
        or now("UTC") - state.timestamp < WORKER_GRACE
    ):
        return
    get_run_logger().warning("this run was cancelled, but its worker has not ended it: the run ends itself")
    if state.is_cancelling():
        client.set_flow_run_state(run, Cancelled(message="the run ended itself because its worker did not"))
    os.kill(os.getpid(), signal.SIGTERM)

"""The state of a deployed run while its Slurm job waits or runs, as Prefect's UI shows it."""

from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.runtime import flow_run
from prefect.states import Running

from flows.slurm.commands import JobStatus
from tasks.gpu_lease import is_deployment_run
from tasks.server_outage import is_outage, without_waiting

QUEUED = "Queued in Slurm"
"""Name of the state of a run whose job waits."""


class ShownState:
    """Sets the state of the current run to that of its job. Does nothing in a run without deployment."""

    def __init__(self) -> None:
        self.shown: tuple[str, str] | None = None

    def update(self, job: str, status: JobStatus) -> None:
        """Tell the server if something has changed.

        During an outage of the server nothing is told; the next call does.
        """
        if not is_deployment_run():
            return
        if status.waits:
            message = f"Slurm job {job} waits: {status.reason}"
            state: State[Any] = State(type=StateType.PENDING, name=QUEUED, message=message)
        else:
            message = f"Slurm job {job} on {status.nodes}"
            state = Running(message=message)
        try:
            with without_waiting(), get_client(sync_client=True) as client:
                if self.shown != (str(state.name), message):
                    run = UUID(str(flow_run.id))
                    current = client.read_flow_run(run).state
                    if current is not None and (current.is_pending() or current.is_running()):
                        # Prefect lets no run return to a pending state by itself
                        client.set_flow_run_state(run, state, force=True)
                    self.shown = str(state.name), message
        except Exception as error:
            if not is_outage(error):
                raise

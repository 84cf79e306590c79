"""A thread that looks after the Prefect run of this process while it works.

It says in the run's log when the server goes and comes back, and then has the events of the outage sent. It ends a run
that was cancelled and whose worker did not notice. It corrects a server that holds a run that works for dead.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.events import emit_event
from prefect.runtime import flow_run
from prefect.settings import PREFECT_API_URL
from prefect.states import Cancelled, Running

from artifacts.text import one_line
from tasks.server_outage import is_outage, stop_waiting, without_waiting

LOOK_SECONDS = 3.0
"""Time between two looks at the state of the run."""
WORKER_GRACE_SECONDS = 6.0
"""Time in which a worker asks a cancelled run to stop."""
ANSWERS_AGAIN = "dialogsum.server.answers-again"
"""Event of a run after an outage. With it, Prefect's client sends the events that it could not send before."""


@contextmanager
def watched() -> Iterator[None]:
    """Look after the flow run of this process in the block, if there is one, on a server that outlives it."""
    no_server, in_thread = PREFECT_API_URL.value() is None, threading.current_thread() is not threading.main_thread()
    if no_server or in_thread or not flow_run.id:
        yield
        return
    watch = _Watch()
    logging.getLogger("prefect._internal.concurrency").addFilter(_is_loss)
    thread = threading.Thread(target=copy_context().run, args=(watch.look_until_ended,), daemon=True, name="run watch")
    thread.start()
    patience = None
    try:
        yield
    except Exception:
        raise
    except BaseException:  # Ctrl-C, or Prefect's TerminationSignal
        stop_waiting()
        watch.confirm_cancellation()
        patience = LOOK_SECONDS
        raise
    finally:
        watch.ended.set()
        thread.join(patience)  # or it could revive a run that has ended


def end_if_cancelled() -> None:
    """End the process of a deployed run that was cancelled while its worker started it, before it is Running.

    Prefect refuses to make such a run Running, and leaves it in the state Cancelling.
    """
    if "PREFECT__FLOW_RUN_ID" not in os.environ:
        return
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(str(flow_run.id))).state
        if state is not None and state.is_cancelling():
            _Watch().end(client, "it was cancelled before it began")


def _is_loss(record: logging.LogRecord) -> bool:
    """False for Prefect's error, every 30 s of an outage, that an event was not sent: it is kept, and sent later."""
    return not str(record.msg).startswith("Service %r failed to process item")


class _Watch:
    """What the thread has seen."""

    def __init__(self) -> None:
        self.run, self.logger, self.ended = UUID(str(flow_run.id)), get_run_logger(), threading.Event()
        self.down_since: float | None = None
        self.told = self.looked_back = False
        self.cancelled_since: float | None = None

    def look_until_ended(self) -> None:
        with get_client(httpx_settings={}, sync_client=True) as client, without_waiting():
            while not self.ended.wait(LOOK_SECONDS):
                try:
                    state = client.read_flow_run(self.run).state
                    self._server_answers()
                    if not self.looked_back and _cancelled_before_it_began(client, self.run):
                        self.end(client, "it was cancelled before it began")
                    self.looked_back = True
                    if state is not None and not self.ended.is_set():
                        self._act_on(client, state)
                except Exception as error:  # nothing that a server answers may end the work
                    self._server_fails(error)

    def _server_fails(self, error: Exception) -> None:
        if self.down_since is None:  # it may be busy for once
            self.down_since = time.monotonic()
        elif not self.told:
            self.told = True
            self.logger.warning(
                "the Prefect server %s (%s): the work continues, and its states, logs and events are sent afterwards",
                "does not answer" if is_outage(error) else "refuses to answer",
                one_line(error, 120),
            )

    def _server_answers(self) -> None:
        if self.down_since is None:
            return
        if self.told:
            self.logger.info("the Prefect server answers again after %.0f s", time.monotonic() - self.down_since)
        self.down_since, self.told = None, False
        emit_event(ANSWERS_AGAIN, resource={"prefect.resource.id": f"prefect.flow-run.{self.run}"})

    def _act_on(self, client: SyncPrefectClient, state: State) -> None:
        if state.is_crashed():
            self.logger.warning(
                "the Prefect server had marked this run as Crashed (%s), but it works: it is Running again",
                one_line(state.message or "no message", 120),
            )
            client.set_flow_run_state(self.run, Running(message="marked as Crashed by mistake: its process works"))
        elif state.is_cancelling() or state.is_cancelled():
            self.cancelled_since = self.cancelled_since or time.monotonic()
            if time.monotonic() - self.cancelled_since >= WORKER_GRACE_SECONDS and not _asked_to_stop():
                self.end(client, "its worker did not end it")

    def confirm_cancellation(self) -> None:
        """Say that a cancelled run has stopped. Its worker would first import the flow, to call its hooks."""
        with suppress(Exception), get_client(httpx_settings={}, sync_client=True) as client, without_waiting():
            state = client.read_flow_run(self.run).state
            if state is not None and state.is_cancelling():
                client.set_flow_run_state(self.run, Cancelled(message="the run has stopped, as it was asked to"))

    def end(self, client: SyncPrefectClient, why: str) -> None:
        """End this process as its worker would."""
        self.logger.warning("this run was cancelled, and ends itself: %s", why)
        client.set_flow_run_state(self.run, Cancelled(message=f"the run ended itself: {why}"))
        self.ended.set()
        os.kill(os.getpid(), signal.SIGTERM)


def _cancelled_before_it_began(client: SyncPrefectClient, run: UUID) -> bool:
    """Whether a run was cancelled while its worker started its process, which then made it Running all the same."""
    for state in reversed(client.read_flow_run_states(run)):
        if state.is_scheduled():  # a cancelled run may be started again
            return False
        if state.is_cancelling() or state.is_cancelled():
            return True
    return False


def _asked_to_stop() -> bool:
    """Whether the worker has announced the end of this process, which may take a while: a training saves its state."""
    from prefect._internal.control_listener import get_intent

    return get_intent() is not None

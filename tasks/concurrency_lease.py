"""A slot of a Prefect global concurrency limit, held through outages of the Prefect server.

Prefect's own `concurrency()` gives a lease up when it cannot be renewed three times in a row, and the slot is lost to a run
that goes on. Here the lease is renewed for as long as the work lasts; if the server has given the slot away meanwhile, it
is taken again once it is free.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from artifacts.errors import StageError
from artifacts.text import one_line
from tasks.cancellation import stop_if_cancelled
from tasks.server_outage import is_outage, retry

LEASE = 60.0
"""Seconds that a slot stays taken after its holder died; Prefect allows no fewer."""
RENEWAL = 15.0
"""Seconds between two renewals of a lease."""
AGAIN = 3.0
"""Seconds until the next try if a renewal failed."""


@contextmanager
def hold_slot(limit: str) -> Iterator[None]:
    """Wait for a slot of the limit and hold it. StageError if the server has no such limit."""
    lease = _Lease(limit)
    with _client() as client:
        while not retry(lease.take, client):
            time.sleep(lease.pause)
        thread = threading.Thread(target=copy_context().run, args=(lease.keep,), daemon=True, name=f"lease on {limit}")
        thread.start()
        try:
            yield
        finally:
            lease.release(client)


def _client() -> SyncPrefectClient:
    """A client of its own: that of the flow run belongs to another thread, and repeats requests for minutes."""
    return get_client(httpx_settings={}, sync_client=True)


class _Lease:
    """A lease, and the thread that renews it."""

    def __init__(self, limit: str) -> None:
        self.limit, self.logger = limit, get_run_logger()
        self.id: UUID | None = None
        """None while no slot is ours."""
        self.pause = AGAIN
        """Seconds after which the server wants to be asked again for a slot."""
        self.lock, self.over, self.in_trouble = threading.Lock(), threading.Event(), False

    def take(self, client: SyncPrefectClient) -> bool:
        """Whether a slot was free and is ours now. StageError if the server refuses."""
        try:
            answer = client.increment_concurrency_slots_with_lease([self.limit], 1, "concurrency", LEASE).json()
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.LOCKED:
                self.pause = float(error.response.headers.get("Retry-After", AGAIN))
                return False
            if is_outage(error):
                raise
            raise self._refused(one_line(error, 120)) from error
        if not answer["limits"]:
            raise self._refused("there is no such limit")
        self.id = UUID(answer["lease_id"])
        return True

    def _refused(self, why: str) -> StageError:
        return StageError(
            f"no slot of the concurrency limit {self.limit!r} to be had ({why}): `dialogsum station up` makes the limit, or "
            f"`prefect gcl create {self.limit} --limit 1`"
        )

    def keep(self) -> None:
        """Renew the lease until it is released. Nothing that the server answers ends the work, but a cancellation."""
        with _client() as client, temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
            while not self.over.wait(AGAIN if self.in_trouble else RENEWAL):
                with self.lock:
                    if not self.over.is_set():
                        self._renew(client)

    def _renew(self, client: SyncPrefectClient) -> None:
        try:
            if self.id is not None and not self._renewed(client, self.id):
                self.id = None
                self._trouble("the Prefect server has given the slot away")
            if self.id is None and not self.take(client):
                return
            stop_if_cancelled(client)
        except Exception as error:
            self._trouble(f"its lease could not be renewed ({one_line(error, 120)})")
            return
        if self.in_trouble:
            self.logger.info("the slot of %r is held again", self.limit)
        self.in_trouble = False

    def _renewed(self, client: SyncPrefectClient, lease: UUID) -> bool:
        """False if the server no longer knows the lease."""
        try:
            client.renew_concurrency_lease(lease, LEASE)
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.GONE:
                return False
            raise
        return True

    def _trouble(self, what: str) -> None:
        if not self.in_trouble:
            self.logger.warning(
                "the slot of %r: %s; the work goes on, and the slot is asked for again", self.limit, what
            )
        self.in_trouble = True

    def release(self, client: SyncPrefectClient) -> None:
        """Give the slot back. If the server does not answer it frees the slot itself, when the lease ends."""
        self.over.set()
        with self.lock:
            lease, self.id = self.id, None
        if lease is None:
            return
        try:
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 1}):
                client.release_concurrency_slots_with_lease(lease)
        except httpx.HTTPError as error:
            self.logger.warning(
                "the slot of %r could not be given back (%s): the Prefect server frees it within %.0f s",
                self.limit, one_line(error, 120), LEASE,
            )  # fmt: skip

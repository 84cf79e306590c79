"""A slot of a Prefect global concurrency limit, held through outages of the Prefect server.

Prefect's own `concurrency()` gives up a lease after three failed renewals in a row, and the run continues without its
slot. Here the lease is renewed as long as the work lasts. If the server has given the slot to another run meanwhile,
the slot is taken again as soon as it is free.
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

from artifacts.errors import StageError
from artifacts.text import one_line
from tasks.server_outage import is_outage, without_waiting

LEASE_SECONDS = 60.0
"""How long a slot stays taken after its holder dies; the minimum of Prefect."""
RENEWAL_SECONDS = 15.0
"""Time between two renewals of a lease."""
RETRY_SECONDS = 3.0
"""Time until the next attempt after a failed renewal."""


@contextmanager
def hold_slot(limit: str) -> Iterator[None]:
    """Wait for a slot of the limit and hold it. StageError if the server has no such limit."""
    lease = _Lease(limit)
    with _client() as client:
        while not lease.acquire(client):
            time.sleep(lease.pause)
        thread = threading.Thread(
            target=copy_context().run, args=(lease.renew_until_released,), daemon=True, name=f"lease on {limit}"
        )
        thread.start()
        try:
            yield
        finally:
            lease.release(client)


def no_slot(limit: str, why: str) -> StageError:
    """The error of a run that cannot get a slot of the limit."""
    return StageError(
        f"cannot get a slot of the concurrency limit {limit!r} ({why}): create the limit with "
        f"`dialogsum station up`, or with `prefect gcl create {limit} --limit 1`"
    )


def _client() -> SyncPrefectClient:
    """A new client: that of the flow run belongs to another thread."""
    return get_client(httpx_settings={}, sync_client=True)


class _Lease:
    """A lease, and the thread that renews it."""

    def __init__(self, limit: str) -> None:
        self.limit, self.logger = limit, get_run_logger()
        self.id: UUID | None = None
        """None while this run holds no slot."""
        self.pause = RETRY_SECONDS
        """Seconds after which to request a slot again, as the server wishes."""
        self.lock, self.released, self.failing = threading.Lock(), threading.Event(), False

    def acquire(self, client: SyncPrefectClient) -> bool:
        """Take a slot if one is free, and return whether this run holds one. StageError if the server refuses."""
        try:
            response = client.increment_concurrency_slots_with_lease(
                [self.limit], 1, "concurrency", LEASE_SECONDS
            ).json()
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.LOCKED:
                self.pause = float(error.response.headers.get("Retry-After", RETRY_SECONDS))
                return False
            if is_outage(error):
                raise
            raise no_slot(self.limit, one_line(error, 120)) from error
        if not response["limits"]:
            raise no_slot(self.limit, "there is no such limit")
        self.id = UUID(response["lease_id"])
        return True

    def renew_until_released(self) -> None:
        """Renew the lease until it is released. No response of the server ends the work."""
        with _client() as client, without_waiting():
            while not self.released.wait(RETRY_SECONDS if self.failing else RENEWAL_SECONDS):
                with self.lock:
                    if not self.released.is_set():
                        self._renew(client)

    def _renew(self, client: SyncPrefectClient) -> None:
        try:
            if self.id is not None and not self._renewed(client, self.id):
                self.id = None
                self._warn_once("the Prefect server gave the slot to another run")
            if self.id is None and not self.acquire(client):
                return
        except Exception as error:
            self._warn_once(f"its lease could not be renewed ({one_line(error, 120)})")
            return
        if self.failing:
            self.logger.info("the slot of %r is held again", self.limit)
        self.failing = False

    def _renewed(self, client: SyncPrefectClient, lease: UUID) -> bool:
        """Renew, and return False if the server no longer knows the lease."""
        try:
            client.renew_concurrency_lease(lease, LEASE_SECONDS)
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.GONE:
                return False
            raise
        return True

    def _warn_once(self, what: str) -> None:
        if not self.failing:
            self.logger.warning(
                "the slot of %r: %s; the work continues and the slot is requested again", self.limit, what
            )
        self.failing = True

    def release(self, client: SyncPrefectClient) -> None:
        """Release the slot. If the server does not answer, the slot is freed when the lease expires."""
        self.released.set()
        with self.lock:
            lease, self.id = self.id, None
        if lease is None:
            return
        try:
            with without_waiting():
                client.release_concurrency_slots_with_lease(lease)
        except httpx.HTTPError as error:
            self.logger.warning(
                "the slot of %r could not be released (%s): the Prefect server frees it within %.0f s",
                self.limit,
                one_line(error, 120),
                LEASE_SECONDS,
            )

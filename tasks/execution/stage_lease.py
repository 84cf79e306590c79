"""Stage lease: of several machines that want the same artifact one makes it, and the others wait. Imports no Prefect.

The holder changes its file in the store every RENEWAL_SECONDS. A machine that has seen no change for EXPIRY_SECONDS, by
its own clock, takes the lease over: it creates the file with the next number, which only one process can do. The lease
needs nothing else of a store, so it works in a bucket and in a shared folder. A lease saves work, but no result depends
on it: if the store does not keep it, the stage runs without.
"""

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from artifacts.artifact_store import Store
from artifacts.errors import RequestError, StageError
from artifacts.text import one_line
from artifacts.timestamps import timestamp_now
from tasks.execution.lease_files import Lease, LeaseFiles, LeaseInForce

RENEWAL_SECONDS = 15.0
"""Time between two renewals."""
EXPIRY_SECONDS = 90.0
"""How long a lease must be unchanged until another machine takes it over. NFS may show a change a minute late."""
POLL_SECONDS = 3.0
"""Time between two looks of a machine that waits."""
STORE_ERRORS = (RequestError, StageError, OSError)

_checked = set[str]()
"""Stores whose conditional writes this process has tried."""
_warned = set[str]()
"""Stores that do not keep leases, for each of which this process has logged one warning."""


@contextmanager
def hold_stage(store: Store, stage: str, key: str, run: str, log: Callable[[str], None]) -> Iterator[Path]:
    """Wait until no other process, here or elsewhere, makes this artifact, and yield the scratch folder of its key.

    The next one gets it when the block ends or this process dies. The artifact may exist by then: look for it inside.
    `run` tells people who holds the lease; `log` receives what happens to it, also from another thread.
    """
    files = LeaseFiles(store, stage, key)
    if store.is_busy(stage, key):
        with suppress(*STORE_ERRORS):
            if current := files.in_force():
                log(_waiting(files, current))
    with store.lock(stage, key) as scratch:
        lease = _StageLease(files, store, run, log)
        lease.acquire()
        threading.Thread(target=lease.renew_until_released, daemon=True, name=f"lease of {files.artifact}").start()
        try:
            yield scratch
        finally:
            lease.release()


class _StageLease:
    """The lease of one artifact, as the process sees it that has the lock of its machine."""

    def __init__(self, files: LeaseFiles, store: Store, run: str, log: Callable[[str], None]) -> None:
        self.files, self.store, self.log = files, store.backend.name, log
        self.own = Lease(
            holder=f"{socket.gethostname()} (process {os.getpid()}, run {run})",
            since=timestamp_now(),
            machine=_machine(store.scratch),
            token=uuid.uuid4().hex,
        )
        self.number = 0
        """Of the file that this process holds; 0 if it holds none."""
        self.failing, self.released, self.lock = False, threading.Event(), threading.Lock()

    def acquire(self) -> None:
        """Return once this process holds the lease, or if the store does not keep it."""
        seen: LeaseInForce | None = None
        changed = answered = time.monotonic()
        outage = False
        while not self.number:
            try:
                current = self.files.in_force()
                answered = time.monotonic()
                if current != seen or outage:  # in which its holder could not renew it either
                    changed, outage = answered, False
                if current and self._is_over(current, answered - changed):
                    self._create(current.number + 1, current)
                elif current is None:
                    self._create(1, None)
                elif seen is None or current.number != seen.number:
                    self.log(_waiting(self.files, current))
                seen = current
            except STORE_ERRORS as error:
                outage = True
                if seen is None or time.monotonic() - answered > EXPIRY_SECONDS:
                    return self._warn_once(f"the store keeps no leases ({one_line(error, 160)})")
            if not self.number:
                time.sleep(POLL_SECONDS)
        return None

    def renew_until_released(self) -> None:
        """Renew the lease as long as it is held."""
        while self.number and not self.released.wait(RENEWAL_SECONDS):
            with self.lock:
                if not self.released.is_set():
                    self._renew()

    def release(self) -> None:
        """Let the next one have it. If the store does not answer, the lease expires."""
        self.released.set()
        with self.lock, suppress(*STORE_ERRORS):
            if self.number:
                self.files.delete_to(self.number)

    def _is_over(self, current: LeaseInForce, unchanged_seconds: float) -> bool:
        """Whether its holder is dead: unchanged for long, or of this machine, whose lock this process has."""
        return unchanged_seconds > EXPIRY_SECONDS or current.lease.machine == self.own.machine

    def _create(self, number: int, former: LeaseInForce | None) -> None:
        """Hold the file with this number, unless another process was first."""
        if not self.files.create(number, self.own):
            return
        self.number = number
        if former and former.lease.machine != self.own.machine:
            self.log(
                f"{self.files.artifact}: {former.lease.holder} has not renewed its lease for {EXPIRY_SECONDS:.0f} s: "
                "this run takes it over"
            )
        if self.store not in _checked:
            _checked.add(self.store)
            if self.files.create(number, self.own):
                self._warn_once("the store ignores conditional writes (If-None-Match)")

    def _renew(self) -> None:
        """Change the file, unless another machine has taken over."""
        try:
            current = self.files.in_force()
            if current is not None and current.lease.token != self.own.token:
                self.number = 0
                self.log(
                    f"{self.files.artifact}: its lease was not renewed in time, and {current.lease.holder} has taken "
                    "it over; this run goes on, and the result that is finished first is kept"
                )
                return
            self.own = self.own.model_copy(update={"renewals": self.own.renewals + 1})
            self.files.write(self.number, self.own)
            self.failing = False
        except STORE_ERRORS as error:
            if not self.failing:
                self.log(f"{self.files.artifact}: its lease is not renewed ({one_line(error, 160)}); the work goes on")
            self.failing = True

    def _warn_once(self, what: str) -> None:
        if self.store not in _warned:
            _warned.add(self.store)
            self.log(f"warning: {what}: two machines that want the same artifact may both make it; the work goes on")


def _waiting(files: LeaseFiles, current: LeaseInForce) -> str:
    since = current.lease.since[:19].replace("T", " ")
    return f"{files.artifact} is being made by {current.lease.holder} since {since} UTC: waiting for it"


def _machine(scratch: Path) -> str:
    """Names the processes that share the locks in this scratch folder: same kernel, same folder on disk."""
    try:
        kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        kernel = f"{socket.gethostname()}-{uuid.getnode()}"
    folder = scratch.stat()
    return f"{kernel} {folder.st_dev} {folder.st_ino}"

"""Health of the station for monitors: the record of `dialogsum status`, computed at most once in a few seconds."""

import threading
import time
from collections.abc import Callable

from flows.station.current_status import current_status
from flows.station.status_records import Status

MAX_AGE = 10.0
"""Seconds for which a status is served again."""


class CachedStatus:
    """The last status; whoever asks while it is computed waits for it, so that many monitors cost as much as one."""

    def __init__(self, compute: Callable[[], Status] | None = None) -> None:
        self._compute, self._lock = compute or current_status, threading.Lock()
        self._status: Status | None = None
        self._expires = 0.0

    def get(self) -> Status:
        """A status that is at most MAX_AGE old when the computation is instant."""
        with self._lock:
            if self._status is None or time.monotonic() > self._expires:
                self._status = self._compute()
                self._expires = time.monotonic() + MAX_AGE
            return self._status

"""Follows the champion log: tells which champion the log names at a moment after the question."""

import asyncio
from typing import Any

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions


class ChampionFollower:
    """The champion log of one base model, local or remote.

    Each answer comes from a read of the log that began after the question. Questions that arrive during a read share
    the next one, so that there is never more than one read at a time.
    """

    def __init__(self, revision: str) -> None:
        self.log = Champions(Store.current(), revision)
        self._running: asyncio.Task[Any] | None = None
        self._next: asyncio.Task[Any] | None = None

    async def champion(self) -> Champion | None:
        """The champion in force. RequestError or OSError if the log cannot be read."""
        if self._next is None:
            self._next = asyncio.create_task(self._read_after(self._running))
        champion: Champion | None = await asyncio.shield(self._next)  # others wait for the same read
        return champion

    async def _read_after(self, running: "asyncio.Task[Any] | None") -> Champion | None:
        if running is not None:
            await asyncio.wait([running])
        self._running, self._next = self._next, None
        return await asyncio.to_thread(self._read)

    def _read(self) -> Champion | None:
        log, folder = self.log, self.log.folder
        if log.changes and log.store.side_files.read(*folder, f"{log.changes[-1].number:06d}.json") is None:
            self.log = Champions(log.store, folder[1])  # a person removed entries, to repair the log
        else:
            log.read_new()
        return self.log.current

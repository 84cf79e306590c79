"""Models in memory: loaded beside serving, kept while requests use them, the least recently used one freed first."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from artifacts.text import one_line
from flows.serving import metrics
from flows.serving.inference_engine import InferenceEngine, Weights
from tasks.summarization.request import SelectedModel

LOG = logging.getLogger("dialogsum.serve")
RETRY_SECONDS = 5.0
"""Time for which a model that could not be loaded is not tried again."""


@dataclass
class _Entry:
    """A model that is loaded or being loaded."""

    loading: "asyncio.Future[Weights]"
    users: int = 0
    failed_at: float | None = None


class ModelCache:
    """At most `size` models. A request that needs one more waits until another model is not used."""

    def __init__(self, engine: InferenceEngine, size: int) -> None:
        self.engine, self.size = engine, size
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def use(self, artifact: str, selected: SelectedModel) -> AsyncIterator[Weights]:
        """The weights of an artifact, which stay in memory inside of the block."""
        quantization = selected.spec.generate.quantization
        name = artifact if quantization == "none" else f"{artifact} on {quantization} weights"
        entry = await self._entry(name, selected)
        try:
            yield await asyncio.shield(entry.loading)  # a client that goes away does not stop it for the others
        finally:
            entry.users -= 1
            async with self._changed:
                self._changed.notify_all()

    async def _entry(self, artifact: str, selected: SelectedModel) -> _Entry:
        async with self._changed:
            entry = self._entries.get(artifact)
            if entry is not None and entry.failed_at and time.monotonic() - entry.failed_at > RETRY_SECONDS:
                entry = self._entries.pop(artifact) and None
            if entry is None:
                await self._changed.wait_for(lambda: artifact in self._entries or self._make_room())
                entry = self._entries.get(artifact)
                if entry is None:
                    entry = self._entries[artifact] = _Entry(asyncio.ensure_future(self._load(artifact, selected)))
            self._entries.move_to_end(artifact)
            entry.users += 1
            return entry

    def _make_room(self) -> bool:
        """Free the model that has not been used for the longest time, if there are too many. False: all are used."""
        while len(self._entries) >= self.size:
            unused = [name for name, entry in self._entries.items() if not entry.users and entry.loading.done()]
            if not unused:
                return False
            entry = self._entries.pop(unused[0])
            if not entry.loading.exception():
                self.engine.unload(entry.loading.result())
                LOG.info("unloaded %s", unused[0])
        metrics.MODELS.set(len(self._entries))
        return True

    async def _load(self, artifact: str, selected: SelectedModel) -> Weights:
        started = time.monotonic()
        try:
            weights = await asyncio.to_thread(self.engine.load, selected)
        except Exception as error:
            metrics.LOAD_FAILURES.inc()
            self._entries[artifact].failed_at = time.monotonic()
            LOG.error("%s could not be loaded: %s", artifact, one_line(error))
            raise
        metrics.LOAD_SECONDS.observe(time.monotonic() - started)
        metrics.MODELS.set(len(self._entries))
        LOG.info("loaded %s in %.1f s", artifact, time.monotonic() - started)
        return weights

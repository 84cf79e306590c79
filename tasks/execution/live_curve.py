"""The learning curve of a training on the GPU pool while it is going on: the parent run reads it from the store.

<store>/parts/train-<key>/curve.json  step -> column of artifacts.schemas.CURVE -> value; exists while it trains
"""

import json
import threading
import time
from contextlib import suppress
from typing import Self

from artifacts.artifact_store import Store
from tasks.execution.job import Job
from tasks.execution.sharding import parts_folder
from tasks.workers.events import NullListener

FILE = "curve.json"
WRITE_SECONDS = 5.0
"""Least time between two writes: the store may be far away."""
Points = dict[int, dict[str, float]]
"""Step -> measurements by column of artifacts.schemas.CURVE."""


class LiveCurveWriter(NullListener):
    """Listener that keeps the curve of a job in the store up to date.

    A thread writes, so that a slow store does not slow the training, and a store that refuses the file does not end it.
    """

    def __init__(self, store: Store, job: Job) -> None:
        self.store, self.folder = store, parts_folder(job)
        self.points: Points = {}
        self.next_write = 0.0
        self.writing: threading.Thread | None = None

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self.points.setdefault(step, {}).update(values)
        idle = self.writing is None or not self.writing.is_alive()
        if idle and (time.monotonic() >= self.next_write or "validation_loss" in values):
            self.next_write = time.monotonic() + WRITE_SECONDS
            self.writing = threading.Thread(target=self._write, args=(json.dumps(self.points).encode(),), daemon=True)
            self.writing.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Delete the file: the artifact has the curve, and a training that goes on reports all of it again."""
        if self.writing is not None:
            self.writing.join()
        with suppress(Exception):
            self.store.side_files.delete(*self.folder, FILE)

    def _write(self, content: bytes) -> None:
        with suppress(Exception):  # the curve can only be followed later then
            self.store.side_files.write(content, *self.folder, FILE)


class LiveCurveReader:
    """Reads what has been added to the curve of a job since the last look."""

    def __init__(self, store: Store, job: Job) -> None:
        self.store, self.folder = store, parts_folder(job)
        self.known: Points = {}

    def new_points(self) -> Points:
        """Points that are new or have new columns; empty if the store cannot be read at the moment."""
        try:
            content = self.store.side_files.read(*self.folder, FILE)
            read: Points = {int(step): values for step, values in json.loads(content or b"{}").items()}
        except Exception:
            return {}
        new = {step: values for step, values in read.items() if self.known.get(step) != values}
        self.known |= new
        return new

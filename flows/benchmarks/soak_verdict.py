"""Whether a soak has lost anything: decisions of runs compared with the champion log, runs compared with their ends."""

import re
from typing import Any

from artifacts.artifact_store import Store
from artifacts.champions import Champions, Change
from artifacts.errors import StageError
from flows.benchmarks.soak_server import ENDED

DECISION = re.compile(r"(train-[0-9a-f]{8}) (promoted|remains champion|rejected)")
"""In the state message of a retraining (flows/publishing.py)."""


class Verdict:
    """Reads the champion log after each run. StageError where it differs from what the run has reported."""

    def __init__(self, store: Store, revision: str) -> None:
        self.store, self.revision = store, revision
        self.log, self.decisions = Champions(store, revision), list[str]()

    def decided(self) -> str:
        """The decision about the newest adapter. It `remains champion` where a run that was killed had promoted it."""
        return "rejected" if self.decisions[-1] == "rejected" else "promoted"

    def must_complete(self, run: dict[str, Any]) -> None:
        """StageError unless a run has completed."""
        if run["state_type"] != "COMPLETED":
            raise StageError(f"run {run['id']} ended as {run['state_type']}: {run['state']['message']}")

    def add(self, run: dict[str, Any]) -> None:
        """Compare an ended retraining with the log."""
        new = self._read()
        if run["state_type"] not in ENDED:
            raise StageError(f"run {run['id']} has not ended: {run['state_type']}")
        if run["state_type"] != "COMPLETED":
            return  # it may have promoted before it was killed
        found = DECISION.search(run["state"]["message"])
        if found is None:
            raise StageError(f"run {run['id']} has made no decision: {run['state']['message']}")
        adapter, decided = found.groups()
        champion = self.log.current.adapter if self.log.current else None
        if (decided == "rejected") == (champion == adapter):
            raise StageError(f"run {run['id']}: {adapter} {decided}, but the champion log has {champion}")
        makers = [change.run for change in new]
        if decided == "promoted" and makers != [run["id"]]:
            raise StageError(f"run {run['id']}: {adapter} promoted, but the champion log has new entries of {makers}")
        if decided != "promoted" and makers:
            raise StageError(f"run {run['id']}: {adapter} {decided}, but the champion log has new entries of {makers}")
        self.decisions.append(decided)

    def rolled_back(self) -> None:
        """Compare the log with a rollback that was made."""
        if [change.action for change in self._read()] != ["rolled back"]:
            raise StageError("the champion log has not exactly one more entry after a rollback")

    def _read(self) -> list[Change]:
        """The new entries of the log. StageError if an earlier one has changed."""
        before, self.log = self.log.changes, Champions(self.store, self.revision)
        if self.log.changes[: len(before)] != before:
            raise StageError(f"the champion log has lost or changed entries: {len(before)} before")
        return self.log.changes[len(before) :]

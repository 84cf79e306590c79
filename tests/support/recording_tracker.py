"""A tracker that keeps what it gets, and that can be down."""

from typing import Any

from flows.integrations.tracker import Points, TrackedRun, Tracker


class RecordingTracker(Tracker):
    """Sends to a dict of its own for each destination."""

    package = "json"

    def __init__(self) -> None:
        super().__init__()
        self.place, self.error = "https://user:pw@example.test/a", ""
        self.writes: list[str] = []
        self.asked: list[str] = []
        self.runs: dict[str, TrackedRun] = {}
        self.live: dict[str, Points] = {}
        self.ended: list[str] = []

    @property
    def destination(self) -> str:
        return self.place

    def open(self, artifact: str, group: str) -> Any:
        self._fail()
        self.live[artifact] = {}
        return artifact

    def add_points(self, run: Any, points: Points) -> None:
        for step, values in points.items():
            self.live[run].setdefault(step, {}).update(values)

    def write(self, run: TrackedRun) -> None:
        self._fail()
        self.writes.append(run.id)
        self.runs[run.id] = run

    def end(self, run: Any) -> None:
        self.ended.append(run)

    def _fail(self) -> None:
        self.asked.append(self.error)
        if self.error:
            raise ConnectionError(self.error)

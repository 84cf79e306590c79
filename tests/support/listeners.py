"""Listeners that keep what stages, workers and loops report."""


class RecordingListener:
    """Keeps the lines and steps that it receives."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[int] = []
        self.points: dict[int, dict[str, float]] = {}

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.steps.append(done)

    def log(self, line: str) -> None:
        self.lines.append(line)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self.points.setdefault(step, {}).update(values)

"""The log of a Slurm job, read while it grows: events of its process, and lines of Slurm and of the setup script."""

import json
from pathlib import Path
from typing import Any

from artifacts.errors import RequestError, StageError
from artifacts.text import one_line
from tasks.workers.events import EVENT_PREFIX, Events


class JobLog:
    """Passes on what has been added to the log of a job since the last look."""

    def __init__(self, file: Path, events: Events) -> None:
        self.file, self.events = file, events
        self.offset = 0
        self.last_line = "none"
        self.completed = 0
        """Most units of work, steps or rows, that the job has reported as done."""
        self.error: RequestError | StageError | None = None
        """What has ended the job's process, since its last start."""
        self.finished = False
        """Whether the process has reported its result, since its last start."""

    @property
    def ended(self) -> bool:
        """Whether the process has reported how it ended."""
        return self.finished or self.error is not None

    def read_new(self) -> None:
        """Read all complete lines that are new; none if there is no file yet."""
        try:
            with self.file.open("rb") as file:
                file.seek(self.offset)
                content = file.read()
        except OSError:  # a shared folder shows a new file after seconds
            return
        complete = content[: content.rfind(b"\n") + 1]
        self.offset += len(complete)
        for line in complete.decode(errors="replace").splitlines():
            self._handle(line)

    def _handle(self, line: str) -> None:
        if line.startswith(EVENT_PREFIX):
            try:
                self._event(json.loads(line.removeprefix(EVENT_PREFIX)))
            except (ValueError, KeyError):  # the process died while it wrote
                self.last_line = one_line(line)
        elif line.strip():
            self.last_line = one_line(line)
            self.events.log(self.last_line)

    def _event(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "start":
                self.error, self.finished = None, False
            case "progress":
                self.completed = max(self.completed, event["completed"])
                self.events.progress(event["completed"], event["total"], event["note"])
            case "log":
                self.events.log(event["line"])
            case "metrics":
                self.events.metrics(event["step"], event["values"])
            case "error":
                self.error = (RequestError if event["kind"] == "request" else StageError)(event["message"])
            case "result":
                self.finished = True

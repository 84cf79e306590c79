"""Trackio: its local store, the Space TRACKIO_SPACE_ID, or the server TRACKIO_SERVER_URL."""

import os
from typing import Any

from flows.integrations.tracker import Points, TrackedRun, Tracker

PROJECT = "dialogsum"


class TrackioTracker(Tracker):
    """Deletes a run and writes it anew, since Trackio only adds."""

    package = "trackio"

    @property
    def destination(self) -> str:
        return _server().partition("?")[0] or os.environ.get("TRACKIO_DIR") or "local"  # its query has the token

    def open(self, artifact: str, group: str, config: dict[str, Any] | None = None) -> Any:
        import trackio

        return trackio.init(
            PROJECT, artifact, group, config=config, resume="allow", embed=False, auto_log_gpu=False, auto_log_cpu=False
        )

    def add_points(self, run: Any, points: Points) -> None:
        for step, values in points.items():
            run.log(values, step=step)

    def write(self, run: TrackedRun) -> None:
        from trackio.sqlite_storage import SQLiteStorage

        self.close()
        self._delete(run.id)
        written = self.open(run.id, run.parent or run.id, run.parameters | run.tags | run.links)
        self.add_points(written, run.curve)
        self.add_points(written, {max(run.curve, default=0): run.metrics})
        self.end(written)
        if _server() and SQLiteStorage.has_pending_data(PROJECT):  # Trackio kept what the server did not take
            self._delete(run.id)
            raise ConnectionError(f"{self.destination} took only a part of {run.id}")

    def end(self, run: Any) -> None:
        import trackio

        trackio.finish()  # the run's own method would leave it current

    def _delete(self, artifact: str) -> None:
        from huggingface_hub import get_token
        from trackio.api import Api
        from trackio.remote_client import RemoteClient
        from trackio.sqlite_storage import SQLiteStorage

        for run in Api().runs(PROJECT) if PROJECT in SQLiteStorage.get_projects() else []:
            if run.name == artifact:
                run.delete()
        if _server():
            client = RemoteClient(_server(), get_token(), os.environ.get("TRACKIO_WRITE_TOKEN"))
            client.predict(project=PROJECT, run=artifact, api_name="/delete_run")


def _server() -> str:
    return os.environ.get("TRACKIO_SPACE_ID") or os.environ.get("TRACKIO_SERVER_URL") or ""


TRACKER = TrackioTracker

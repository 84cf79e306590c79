"""MLflow: an experiment of the server MLFLOW_TRACKING_URI and, on request, its model registry."""

import os
import time
from functools import cached_property
from typing import Any

from artifacts.errors import RequestError
from flows.integrations import mlflow_registry
from flows.integrations.tracker import Points, TrackedRun, Tracker

ARTIFACT, PARENT, NOTE = "dialogsum.artifact", "mlflow.parentRunId", "mlflow.note.content"
BATCH = 1000
"""Metrics that MLflow takes in one request."""


class MlflowTracker(Tracker):
    """Finds a run by its tag. MLflow keeps the first value of a parameter."""

    package = "mlflow"
    environment = {  # noqa: RUF012  # as in the base class
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_EXPERIMENT_NAME": "dialogsum",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    }

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[tuple[str, str], dict[int, float]] = {}
        """(run, metric) -> the points that the server has."""

    @property
    def destination(self) -> str:
        if not (server := os.environ.get("MLFLOW_TRACKING_URI")):
            raise RequestError("track: mlflow needs a server: set MLFLOW_TRACKING_URI, such as http://127.0.0.1:5000")
        model = os.environ.get(mlflow_registry.MODEL)
        return " ".join([server, os.environ["MLFLOW_EXPERIMENT_NAME"], *([f"model {model}"] if model else [])])

    @cached_property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient()

    @cached_property
    def experiment(self) -> str:
        name = os.environ["MLFLOW_EXPERIMENT_NAME"]
        found = self.client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self.client.create_experiment(name))

    def open(self, artifact: str, group: str, started: float | None = None) -> Any:
        found = self.client.search_runs([self.experiment], f"tags.`{ARTIFACT}` = '{artifact}'")
        milliseconds = int(1000 * (started or time.time()))
        tags = {ARTIFACT: artifact}
        return found[0] if found else self.client.create_run(self.experiment, milliseconds, tags, artifact)

    def add_points(self, run: Any, points: Points, moment: float | None = None) -> None:
        from mlflow.entities import Metric

        name, milliseconds, new = run.info.run_id, int(1000 * (moment or time.time())), list[Any]()
        for step, values in points.items():
            for metric, value in values.items():
                if (name, metric) not in self.sent:
                    history = self.client.get_metric_history(name, metric)
                    self.sent[name, metric] = {point.step: point.value for point in history}
                if self.sent[name, metric].get(step) != value:
                    new.append(Metric(metric, value, milliseconds, step))
        for start in range(0, len(new), BATCH):
            self.client.log_batch(name, new[start : start + BATCH])
            for metric in new[start : start + BATCH]:
                self.sent[name, metric.key][metric.step] = metric.value

    def write(self, run: TrackedRun) -> None:
        from mlflow.entities import Metric, Param, RunTag

        if self.current[0] == run.id:  # not to be ended as a failed training
            self.current = ("", None)
        found = self.open(run.id, run.id, run.started)
        name, data = found.info.run_id, found.data
        tags = {f"dialogsum.{name}": value for name, value in (run.tags | run.links).items()}
        if run.parent:
            tags[PARENT] = self.open(run.parent, run.parent).info.run_id
        if data.tags.get(NOTE, run.id).startswith(run.id):  # a person may have written another description
            tags[NOTE] = f"{run.id}: " + ", ".join(_link(*pair) for pair in run.links.items())
        ended = int(1000 * run.ended)
        self.client.log_batch(
            name,
            [Metric(key, value, ended, 0) for key, value in run.metrics.items() if data.metrics.get(key) != value],
            [Param(key, str(value)) for key, value in run.parameters.items() if key not in data.params],
            [RunTag(key, value) for key, value in tags.items() if data.tags.get(key) != value],
        )
        self.add_points(found, run.curve, run.ended)
        self.client.set_terminated(name, "FINISHED", ended)
        mlflow_registry.follow(self.client, found, run)

    def end(self, run: Any) -> None:
        self.client.set_terminated(run.info.run_id, "FAILED")


def _link(name: str, target: str) -> str:
    """In Markdown; a browser opens no link from a server's page to a path."""
    return f"[{name}]({target})" if target.startswith("http") else f"{name} `{target}`"


TRACKER = MlflowTracker

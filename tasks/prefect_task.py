"""A stage as a Prefect task: cache policy, run name, progress and logs. The same for every stage."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any
from uuid import UUID

from prefect import Task, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.runtime import task_run

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest
from artifacts.prefect_results import ARTIFACT_KEY, saved_block
from artifacts.refs import Ref
from artifacts.retention import lineage
from artifacts.text import one_line
from tasks.execution.executor import execute
from tasks.execution.job import Job
from tasks.execution.listener import Listener
from tasks.gpu_lease import hold_gpu
from tasks.registry import STAGES
from tasks.reporting.artifact_page import heading, page
from tasks.server_outage import is_outage, without_waiting
from tasks.workers.events import NullListener

UPDATE_SECONDS = 2.0
"""Time between two updates of a progress artifact."""
OUTAGE_UPDATE_SECONDS = 15.0
"""The same during an outage of the server."""
MAX_PAGES_PER_REQUEST = 200
"""The server returns at most this many artifacts per request."""

current_listener: ContextVar[Listener] = ContextVar(
    "current_listener",
    default=NullListener(),  # noqa: B039  # it has no state
)
"""Receives events in addition to the Prefect run; Prefect's tasks run in threads, which inherit it."""


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send the events of all stages that run in this block to `listener` as well."""
    token = current_listener.set(listener)
    try:
        yield
    finally:
        current_listener.reset(token)


class RunEvents:
    """Shows progress as a Prefect progress artifact and logs each 10 %; passes all events to the current listener."""

    def __init__(self, title: str) -> None:
        self.title, self.logger, self.listener = title, get_run_logger(), current_listener.get()
        self.artifact: UUID | None = None
        self.next_update, self.last_decile = 0.0, -1
        self.unpublished: float | None = None
        """Percentage that could not be published."""
        self.warned = False

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.listener.progress(done, total, note)
        if not total:
            return
        percentage = 100 * done / total
        if int(percentage // 10) > self.last_decile:
            self.last_decile = int(percentage // 10)
            self.logger.info("%s of %s %s", done, total, note)
        if self.unpublished is not None:
            self.unpublished = percentage
        if time.monotonic() > self.next_update or (done == total and self.unpublished is None):
            self._publish(percentage)

    def finish(self) -> None:
        """Publish the last percentage if it could not be published in time."""
        if self.unpublished is not None:
            self._send(self.unpublished)
            self.unpublished = None

    def _publish(self, percentage: float) -> None:
        """Send a percentage to the server. During an outage the work continues without updates."""
        try:
            with without_waiting():  # or the work would halt
                self._send(percentage)
        except Exception as error:
            if not is_outage(error):
                raise
            if not self.warned:
                self.logger.warning(
                    "the Prefect server does not answer (%s): progress is not shown", one_line(error, 120)
                )
            self.warned, self.unpublished, self.next_update = True, percentage, time.monotonic() + OUTAGE_UPDATE_SECONDS
        else:
            self.unpublished, self.next_update = None, time.monotonic() + UPDATE_SECONDS

    def _send(self, percentage: float) -> None:
        if self.artifact is None:
            key = "".join(c if c.isalnum() else "-" for c in self.title.lower())
            created: Any = create_progress_artifact(percentage, key=f"progress-{key}"[:100], description=self.title)
            self.artifact = created
        else:
            update_progress_artifact(self.artifact, percentage)

    def log(self, line: str) -> None:
        self.logger.info(line)
        self.listener.log(line)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self.listener.metrics(step, values)


def _run_name() -> str:
    job: Job = task_run.parameters["job"]
    return title(job)


def title(job: Job) -> str:
    """`train smollm2-135m-instruct r32 3 epochs`, `generate tuned gemma-2b`."""
    stage = STAGES[job.stage]
    label = stage.label(job.spec)
    return " ".join(dict.fromkeys([job.stage, job.variant or label, label]))


@cache
def prefect_task(name: str) -> Task[[Job], Ref]:
    """The stage as a task: cached under the artifact's key, its receipt stored as JSON in the artifact store.

    It has no tags: for each tag Prefect requests a limit from the server, and the task fails during an outage.
    """
    stage = STAGES[name]

    @task(
        name=stage.name,
        description=(stage.function.__doc__ or "").split("\n")[0],
        task_run_name=_run_name,
        version=str(stage.version),
        cache_policy=ARTIFACT_KEY,
        persist_result=True,
        result_serializer="json",
        cache_result_in_memory=False,
    )
    def run(job: Job) -> Ref:
        events = RunEvents(title(job))
        manifest, ran = execute(Store.current(), stage, job, events, hold_gpu(stage.pool_for(job.spec)))
        events.finish()
        get_run_logger().info("%s %s: %s rows", manifest.id, "made" if ran else "reused from the store", manifest.rows)
        if ran:
            publish_pages([manifest], again=manifest.id)
        return Ref.of_manifest(manifest)

    return run


def publish_pages(artifacts: Iterable[Manifest], again: str = "") -> set[str]:
    """Create missing pages in the Prefect UI for artifacts and all that they were made from.

    again: id of an artifact that was made again, whose page is replaced.
    Returns the ids of all artifacts with a page. If no page is missing this is one request.
    """
    manifests = lineage(Store.current(), artifacts)
    ids = [*{*manifests, *(ref.id for m in manifests.values() for ref in m.inputs.values())}]
    existing = set[str]()
    with get_client(sync_client=True) as client:
        for start in range(0, len(ids), MAX_PAGES_PER_REQUEST):
            keys = ArtifactCollectionFilterKey(any_=ids[start : start + MAX_PAGES_PER_REQUEST])
            pages = client.read_latest_artifacts(artifact_filter=ArtifactCollectionFilter(key=keys))
            existing |= {str(item.key) for item in pages}
    known = existing | manifests.keys()
    for artifact, manifest in manifests.items():
        if artifact == again or artifact not in existing:
            create_markdown_artifact(page(manifest, known), key=artifact, description=heading(manifest))
    return known


def run_stage(job: Job) -> Ref:
    """Run one stage as a Prefect task, or take its receipt from the cache."""
    stage_task: Any = prefect_task(job.stage).with_options(result_storage=saved_block(), refresh_cache=job.refresh)
    with log_how_to_resume(job.stage, lambda: saved_progress(job)):
        return Ref.model_validate(stage_task(job))


RESUME_HINT = "Retry this run, or start it again with the same settings, to resume"


@contextmanager
def log_how_to_resume(what: str, progress: Callable[[], str]) -> Iterator[None]:
    """If the run is cancelled or its process is terminated, log what is kept of the work and how to resume it."""
    try:
        yield
    except Exception:
        raise
    except BaseException:  # Prefect's TerminationSignal and the like
        get_run_logger().warning("stopped during %s; %s. %s", what, progress(), RESUME_HINT)
        raise


def saved_progress(job: Job) -> str:
    """The progress that a stopped run of a stage has left on this machine."""
    steps = (Store.current().scratch / f"{job.stage}-{job.key}").rglob("step-*/manifest.json")
    last = max((int(file.parent.name.removeprefix("step-")) for file in steps), default=None)
    if last is not None:
        return f"the checkpoint after step {last} is kept"
    batches = "finished batches are kept"
    kept = {"train": "there is no checkpoint yet", "sample": batches, "generate": batches, "judge": batches}
    return kept.get(job.stage, "finished stages are kept")

"""The thin shell: a stage as a Prefect task, the same for all of them.

What a stage is and does stands in its own file; here are only cache policy, run name, tags, progress and logs.
"""

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
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

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
from tasks.server_outage import is_outage, retry
from tasks.workers.events import NullListener

EVERY = 2.0
"""Seconds between updates of a progress artifact."""
OUTAGE = 15.0
"""The same while the server does not answer."""
ASKED_AT_ONCE = 200
"""Pages that the server is asked for in one request: it answers with no more."""

current_listener: ContextVar[Listener] = ContextVar("terminal", default=NullListener())  # noqa: B039  # it keeps nothing
"""Who else wants to hear, beside the Prefect run: the command line sets it."""


class RunEvents:
    """Progress as a Prefect progress artifact and, every tenth, a log line; all of it to the terminal as well."""

    def __init__(self, title: str) -> None:
        self.title, self.logger, self.terminal = title, get_run_logger(), current_listener.get()
        self.artifact: UUID | None = None
        self.due, self.tenth = 0.0, -1
        self.missed: float | None = None
        """A share that could not be published."""
        self.warned = False

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.terminal.progress(done, total, note)
        if not total:
            return
        share = 100 * done / total
        if int(share // 10) > self.tenth:
            self.tenth = int(share // 10)
            self.logger.info("%s of %s %s", done, total, note)
        if self.missed is not None:
            self.missed = share
        if time.monotonic() > self.due or (done == total and self.missed is None):
            self._publish(share)

    def finish(self) -> None:
        """Publish the last share if the server was away when it was due."""
        if self.missed is not None:
            self._send(self.missed)
            self.missed = None

    def _publish(self, share: float) -> None:
        """Send a share of the work to the server; while it does not answer the work goes on without."""
        try:
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 1}):  # as many as elsewhere would halt the work
                self._send(share)
        except Exception as error:
            if not is_outage(error):
                raise
            if not self.warned:
                self.logger.warning(
                    "the Prefect server does not answer (%s): progress is not shown", one_line(error, 120)
                )
            self.warned, self.missed, self.due = True, share, time.monotonic() + OUTAGE
        else:
            self.missed, self.due = None, time.monotonic() + EVERY

    def _send(self, share: float) -> None:
        if self.artifact is None:
            key = "".join(c if c.isalnum() else "-" for c in self.title.lower())
            self.artifact = create_progress_artifact(share, key=f"progress-{key}"[:100], description=self.title)  # type: ignore[assignment]
        else:
            update_progress_artifact(self.artifact, share)

    def log(self, line: str) -> None:
        self.logger.info(line)
        self.terminal.log(line)


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

    It has no tags: for each of them Prefect asks the server for a limit, and the task fails where the server is away.
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
        manifest, ran = execute(Store.current(), stage, job, events, hold_gpu(stage.pool))
        events.finish()
        get_run_logger().info("%s %s: %s rows", manifest.id, "made" if ran else "found in the store", manifest.rows)
        if ran:
            publish_pages([manifest], again=manifest.id)
        return Ref.of_manifest(manifest)

    return run


def publish_pages(artifacts: Iterable[Manifest], again: str = "") -> set[str]:
    """Create the pages in the Prefect UI that artifacts and all they were made from lack on this server.

    again: id of an artifact whose page is created although it has one, since it was made anew.
    Returns the ids that have a page then. Where nothing is missing this is one request.
    """
    wanted = lineage(Store.current(), artifacts)
    ids = [*{*wanted, *(ref.id for m in wanted.values() for ref in m.inputs.values())}]
    found = set[str]()
    with get_client(sync_client=True) as client:
        for start in range(0, len(ids), ASKED_AT_ONCE):
            keys = ArtifactCollectionFilterKey(any_=ids[start : start + ASKED_AT_ONCE])
            pages = client.read_latest_artifacts(artifact_filter=ArtifactCollectionFilter(key=keys))
            found |= {each.key for each in pages}
    known = found | wanted.keys()
    for artifact, manifest in wanted.items():
        if artifact == again or artifact not in found:
            create_markdown_artifact(page(manifest, known), key=artifact, description=heading(manifest))
    return known


def run_stage(job: Job) -> Ref:
    """Run one stage as a Prefect task, or take its receipt from the cache."""
    block = retry(saved_block)
    stage_task: Any = prefect_task(job.stage).with_options(result_storage=block, refresh_cache=job.refresh)
    with log_how_to_resume(job.stage, lambda: saved_progress(job)):
        return Ref.model_validate(stage_task(job))


RESUME_HINT = "Retry this run, or start it again with the same settings, and it goes on from there"


@contextmanager
def log_how_to_resume(what: str, found: Callable[[], str]) -> Iterator[None]:
    """If the run is cancelled or its process ended, log what is kept of the work and how to go on."""
    try:
        yield
    except Exception:
        raise
    except BaseException:  # Prefect's TerminationSignal and the like
        get_run_logger().warning("stopped during %s; %s. %s", what, found(), RESUME_HINT)
        raise


def saved_progress(job: Job) -> str:
    """What a run of a stage that was stopped has left on this machine."""
    steps = (Store.current().scratch / f"{job.stage}-{job.key}").rglob("step-*/manifest.json")
    last = max((int(file.parent.name.removeprefix("step-")) for file in steps), default=None)
    if last is not None:
        return f"the checkpoint after step {last} is kept"
    return {"train": "there is no checkpoint yet", "generate": "finished batches are kept"}.get(
        job.stage, "finished stages are kept"
    )

"""The thin shell: a stage as a Prefect task, the same for all of them.

What a stage is and does stands in its own file; here are only cache policy, run name, tags, progress and logs.
"""

import time
from contextvars import ContextVar
from functools import cache
from typing import Any
from uuid import UUID

from prefect import Task, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.runtime import task_run
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from artifacts.cache import ARTIFACT_KEY, saved_block
from artifacts.errors import one_line
from artifacts.manifest import Manifest
from artifacts.refs import Ref
from tasks.events import Listener, Silent
from tasks.gate import gpu_gate
from tasks.outage import is_outage, retry
from tasks.stage import Job, perform
from tasks.stages import STAGES
from tasks.untrusted import plain

EVERY = 2.0
"""Seconds between updates of a progress artifact."""
OUTAGE = 15.0
"""The same while the server does not answer."""

terminal: ContextVar[Listener] = ContextVar("terminal", default=Silent())  # noqa: B039  # it keeps nothing
"""Who else wants to hear, beside the Prefect run: the command line sets it."""


class RunEvents:
    """Progress as a Prefect progress artifact and, every tenth, a log line; all of it to the terminal as well."""

    def __init__(self, title: str) -> None:
        self.title, self.logger, self.terminal = title, get_run_logger(), terminal.get()
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
    label = stage.label(stage.spec.model_validate(job.spec))
    return " ".join(dict.fromkeys([job.stage, job.of or label, label]))


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
        manifest, ran = perform(stage, job, events, gpu_gate(stage.pool))
        events.finish()
        get_run_logger().info("%s %s: %s rows", manifest.id, "made" if ran else "found in the store", manifest.rows)
        if ran:
            create_markdown_artifact(page(manifest), key=manifest.id, description=title(job))
        return Ref.of_manifest(manifest)

    return run


def page(manifest: Manifest) -> str:
    """An artifact as Markdown for the Prefect UI: what it was made from, one click away, and what was found."""
    made_from = [f"| {role} | [{ref.id}](../key/{ref.id}) |" for role, ref in manifest.inputs.items()]
    found = [
        f"| {plain(name)} | {plain(one_line(value, 200))} |"
        for name, value in (manifest.facts | manifest.made.measured).items()
    ]
    return "\n".join([
        f"# {manifest.id}", "", f"{manifest.rows} rows, {manifest.made.seconds:.1f} s, `{manifest.path}`; `dialogsum show {manifest.id}`",
        "", *(["| made from | |", "|---|---|", *made_from, ""] if made_from else []),
        *(["| found | |", "|---|---|", *found, ""] if found else []),
    ])  # fmt: skip


def run_stage(job: Job) -> Ref:
    """Run one stage as a Prefect task, or take its receipt from the cache."""
    block = retry(saved_block)
    stage_task: Any = prefect_task(job.stage).with_options(result_storage=block, refresh_cache=job.refresh)
    return Ref.model_validate(stage_task(job))

"""Executes a job: runs the stage function in scratch and publishes what it wrote. Imports no Prefect."""

import platform
import shutil
import time
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import PackageNotFoundError, version

from artifacts.artifact_store import Store
from artifacts.manifest import InputRef, Manifest, Provenance
from artifacts.record import Record
from tasks.execution.job import Job, intact_artifact, load_inputs
from tasks.execution.sharding import fetch_parts, parts_folder
from tasks.execution.stage import Context, Stage
from tasks.execution.stage_lease import hold_stage
from tasks.workers.events import Events

RECORDED_PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "bitsandbytes",
    "datasets",
    "rouge-score",
    "prefect",
)
"""Packages whose versions are recorded in the manifest; they are not part of the key."""


def execute(
    store: Store, stage: Stage, job: Job, events: Events, gpu_lease: AbstractContextManager[None] | None = None
) -> tuple[Manifest, bool]:
    """Run the stage while holding `gpu_lease`, unless the store has an intact artifact of this key by now.

    Returns its manifest, and whether the stage ran.
    """
    label = stage.label(job.spec)

    def reusable() -> Manifest | None:
        return None if job.refresh else intact_artifact(store, stage, job)

    if existing := reusable():
        return existing, False
    with hold_stage(store, stage.name, job.key, job.run, events.log) as scratch:
        if existing := reusable():
            return existing, False
        out, work = scratch / "out", scratch / "work"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        work.mkdir(exist_ok=True)
        fetch_parts(store, job, work)
        inputs = load_inputs(store, job)
        with gpu_lease or nullcontext():
            started = time.perf_counter()
            result = stage.function(job.spec, Context(out, work, job.runtime, events), **inputs)
            seconds = round(time.perf_counter() - started, 3)
        if existing := reusable():  # of a machine that took the lease over, or had lost it
            shutil.rmtree(scratch, ignore_errors=True)
            return existing, False
        manifest = store.publish(
            out,
            stage=stage.name,
            variant=job.variant,
            name=label,
            key=job.key,
            rows=result.rows,
            identity=job.identity,
            inputs={role: InputRef(id=ref.id, digest=ref.digest) for role, ref in job.inputs.items()},
            facts=result.facts,
            provenance=Provenance(
                at=store.next_timestamp(stage.name),
                seconds=seconds,
                run=job.run,
                origin=_origins(job.spec) | job.origin | {"recipe": job.recipe},
                versions=_versions(),
                measured=result.measured,
            ),
        )
        shutil.rmtree(scratch, ignore_errors=True)
        store.side_files.remove_folder(*parts_folder(job))
        return manifest, True


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _origins(spec: Record) -> dict[str, str]:
    """Setting -> source of the data or model that it names, as recorded in the manifest."""
    return {
        name: str(value.origin) for name in type(spec).model_fields if hasattr(value := getattr(spec, name), "origin")
    }

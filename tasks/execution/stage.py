"""The stage contract: what a stage is, its key, whether it has to run and why, and how it runs.

Prefect-free, so that `plan` and the tests need no server; tasks/prefect_task.py puts the Prefect task around it.
"""

import platform
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field

from artifacts.artifact_store import DamageError, Store
from artifacts.cache_key import Identity, difference, identity_of, sha256
from artifacts.code_fingerprint import fingerprint
from artifacts.manifest import InputRef, Made, Manifest, Record
from artifacts.reasons import in_words
from artifacts.refs import Ref
from tasks.config import Runtime
from tasks.workers.events import Events

RECORDED = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "datasets", "rouge-score", "prefect")
COMPARED = 200
"""Artifacts of a stage among which the closest one is sought to say what changed: the newest. A store may have thousands."""


class Input(Protocol):
    """What the graph hands on: a receipt, or in a plan the expectation of one."""

    @property
    def id(self) -> str: ...
    @property
    def digest(self) -> str: ...


class Expected(Record):
    """In a plan, an artifact that is not there yet; `digest` is a guess that no key contains unless it will hold."""

    id: str
    digest: str


@dataclass(frozen=True)
class Artifact:
    """An input as a stage sees it: the folder with its files, and its manifest."""

    payload: Path
    manifest: Manifest


@dataclass(frozen=True)
class Context:
    """What a stage gets beside its section and its inputs: none of it may change the result."""

    out: Path
    """Empty folder; what is written here becomes the payload."""
    work: Path
    """Scratch that a killed run of the same key finds again."""
    runtime: Runtime
    events: Events
    share: tuple[int, int] = (0, 1)
    """Which part of the work is wanted: (n, k) is the n-th of k, counted from 0."""


@dataclass(frozen=True)
class Done:
    """What a stage function returns beside its payload."""

    rows: int
    facts: dict[str, Any] = field(default_factory=dict)
    """Small findings for those who read the artifact; deterministic."""
    measured: dict[str, Any] = field(default_factory=dict)
    """Hardware, speed, memory: true of this copy only."""


@dataclass(frozen=True)
class Stage:
    """One verb of the pipeline. The key of an artifact is made of all that is declared here."""

    name: str
    version: int
    """Raise it to say by hand that old artifacts are no longer right; edited code is noticed by itself."""
    function: Callable[..., Done]
    """`function(spec, context, **inputs: Artifact) -> Done`."""
    spec: type[Record]
    label: Callable[[Any], str]
    """The spec -> a short name for folder and run."""
    pool: Literal["cpu", "gpu"] = "cpu"
    packages: tuple[str, ...] = ()
    """Packages whose version is identity: those whose release notes may change the figures."""
    worker: str | None = None
    """The module that does the work in a process of its own."""
    resources: tuple[str, ...] = ()
    """Files beside the module that it reads."""
    check: Callable[..., list[Any]] | None = None
    """Finds on the CPU what would fail on the GPU (a list of artifacts.check.Check); called as `function` is."""
    share: Callable[..., dict[str, Any]] | None = None
    """Does the part of the work that `Context.share` names and leaves it in `work/parts`; called as `function` is, which
    finds all parts there and joins them. Returns measurements."""

    def code(self) -> dict[str, str]:
        """Fingerprint of all code that the result depends on."""
        found = fingerprint(self.function.__module__, self.resources)
        return found | (fingerprint(self.worker) if self.worker else {})


class Job(Record):
    """One stage with all that it needs: what a Prefect task or a worker receives."""

    stage: str
    of: str | None
    spec: dict[str, Any]
    inputs: dict[str, Ref]
    identity: Identity
    """As it was when it was decided to run: code edited since then makes another artifact."""
    run: str
    recipe: str = ""
    """Name and revision of the recipe, for people."""
    origin: dict[str, str] = Field(default_factory=dict)
    """What else the manifest notes for people: `overrides` of the recipe, `prompt` of an evaluation."""
    refresh: bool = False
    runtime: Runtime = Runtime()

    @property
    def key(self) -> str:
        return sha256(self.identity)

    @property
    def artifact(self) -> str:
        """Id of what it makes."""
        return f"{self.stage}-{self.key[:8]}"


class Decision(Record):
    """Whether a stage has to run, and why."""

    stage: str
    of: str | None
    status: Literal["run", "reused"]
    reason: str
    identity: Identity
    key: str
    path: str
    manifest: Manifest | None = None
    """Of the artifact that is reused, or was whole until it was damaged."""


def identity(stage: Stage, of: str | None, spec: Record, inputs: Mapping[str, Input]) -> Identity:
    """All that makes the key of a stage's artifact. `of` needs no place: spec and inputs differ where it does."""
    return {
        "stage": stage.name,
        "version": stage.version,
        "code": stage.code(),
        "packages": {name: version(name) for name in stage.packages},
        "config": identity_of(spec),
        "inputs": {role: ref.digest for role, ref in inputs.items()},
    }


def decide(stage: Stage, of: str | None, spec: Record, inputs: Mapping[str, Input], refresh: bool = False) -> Decision:
    """Whether the stage has to run: reads the store, changes nothing."""
    store, wanted = Store.current(), identity(stage, of, spec, inputs)
    key = sha256(wanted)
    path = store.relative(stage.name, stage.label(spec), key)

    def because(status: Literal["run", "reused"], reason: str, manifest: Manifest | None = None) -> Decision:
        return Decision(
            stage=stage.name,
            of=of,
            status=status,
            reason=reason,
            identity=wanted,
            key=key,
            path=path,
            manifest=manifest,
        )

    manifest = None
    try:
        manifest = store.manifest(path)
        if manifest is not None and manifest.key == key:
            store.verified(path)
            return (
                because("run", "refresh was asked for", manifest)
                if refresh
                else because("reused", f"nothing changed since {manifest.made.at[:16].replace('T', ' ')} UTC", manifest)
            )
    except DamageError as damage:
        return because("run", f"damaged: {damage}", manifest)
    before = [m for m in store.latest(stage.name, COMPARED) if m.of == of]
    before = before or [m for m in store.manifests(stage.name) if m.of == of]
    earlier = [(m, difference(m.identity, wanted)) for m in before]
    if not earlier:
        return because("run", "first run")
    closest = min(reversed(earlier), key=lambda pair: len(pair[1]))  # the newest of the closest
    made_from = {role: ref.id for role, ref in closest[0].inputs.items()}
    return because("run", in_words(closest[1], stage.name, made_from, {role: ref.id for role, ref in inputs.items()}))


def perform(
    stage: Stage, job: Job, events: Events, gate: AbstractContextManager[None] | None = None
) -> tuple[Manifest, bool]:
    """Run the stage inside `gate`, unless a whole artifact of this key is there by now.

    Returns its manifest, and whether it ran.
    """
    store, spec = Store.current(), stage.spec.model_validate(job.spec)
    path = store.relative(stage.name, stage.label(spec), job.key)
    with store.alone(stage.name, job.key) as scratch:
        if not job.refresh:
            try:
                found = store.verified(path)
                if found.key == job.key:
                    return found, False
            except DamageError:
                pass
        out, work = scratch / "out", scratch / "work"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        work.mkdir(exist_ok=True)
        fetch_parts(job, work)
        inputs = inputs_of(job)
        with gate or nullcontext():
            started = time.perf_counter()
            done = stage.function(spec, Context(out, work, job.runtime, events), **inputs)
            seconds = round(time.perf_counter() - started, 3)
        manifest = store.publish(
            out, stage=stage.name, of=job.of, name=stage.label(spec), key=job.key, rows=done.rows,
            identity=job.identity,
            inputs={role: InputRef(id=ref.id, digest=ref.digest) for role, ref in job.inputs.items()},
            facts=done.facts,
            made=Made(at=store.next_moment(stage.name), seconds=seconds, run=job.run, origin=_origins(spec) | job.origin | {"recipe": job.recipe},
                      versions=_versions(), measured=done.measured),
        )  # fmt: skip
        shutil.rmtree(scratch, ignore_errors=True)
        store.remove(*parts_of(job))
        return manifest, True


def inputs_of(job: Job) -> dict[str, Artifact]:
    """The artifacts that a job starts from, verified and at hand."""
    store = Store.current()
    return {role: Artifact(store.payload(ref.path), store.verified(ref.path)) for role, ref in job.inputs.items()}


def parts_of(job: Job) -> tuple[str, str]:
    """Where in the store machines that share a job leave their parts."""
    return "parts", f"{job.stage}-{job.key}"


def fetch_parts(job: Job, work: Path) -> None:
    """Copy the parts that other machines made into `work/parts`."""
    store = Store.current()
    for name in store.names(*parts_of(job)):
        (work / "parts").mkdir(exist_ok=True)
        (work / "parts" / name).write_bytes(store.read(*parts_of(job), name) or b"")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in RECORDED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _origins(spec: Record) -> dict[str, str]:
    return {
        name: str(value.origin) for name in type(spec).model_fields if hasattr(value := getattr(spec, name), "origin")
    }

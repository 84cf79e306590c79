"""The stage contract: what a stage declares, what it gets and what it returns."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from artifacts.check import Check
from artifacts.code_fingerprint import fingerprint
from artifacts.manifest import Manifest
from artifacts.record import Record
from tasks.config import Runtime
from tasks.workers.events import Events


@dataclass(frozen=True)
class Shard:
    """The `index`-th of `count` parts of the work, counted from 0."""

    index: int
    count: int


WHOLE = Shard(0, 1)
"""All of the work."""


@dataclass(frozen=True)
class Artifact:
    """An input as a stage sees it: the folder with its files, and its manifest."""

    payload: Path
    manifest: Manifest


@dataclass(frozen=True)
class Context:
    """What a stage gets in addition to its settings and inputs. Nothing here may change the result."""

    out: Path
    """Empty folder; the files that are written here become the payload."""
    work: Path
    """Scratch folder, which the next run of the same key finds again if this one is killed."""
    runtime: Runtime
    events: Events
    shard: Shard = WHOLE
    """The part of the work to do, for `Stage.run_shard`."""


@dataclass(frozen=True)
class StageResult:
    """What a stage function returns in addition to its payload."""

    rows: int
    facts: dict[str, Any] = field(default_factory=dict)
    """Small results for readers of the artifact; deterministic."""
    measured: dict[str, Any] = field(default_factory=dict)
    """Hardware, speed, memory: true of this copy only."""


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline. The key of its artifacts is computed from what is declared here."""

    name: str
    version: int
    """Raise it to invalidate old artifacts by hand; edited code is noticed without it."""
    function: Callable[..., StageResult]
    """`function(spec, context, **inputs: Artifact) -> StageResult`."""
    spec: type[Record]
    """Class of its settings."""
    label: Callable[[Any], str]
    """The spec -> a short name for folder and run."""
    pool: Literal["cpu", "gpu"] = "cpu"
    packages: tuple[str, ...] = ()
    """Packages whose version is part of the key: those whose releases may change the figures."""
    worker: str | None = None
    """The module of the stage's worker process."""
    resources: tuple[str, ...] = ()
    """Files that it reads, relative to its module."""
    optional: bool = False
    """Only some recipes have it, so that no process waits for its work."""
    needs_gpu: Callable[[Any], bool] | None = None
    """The spec -> whether a stage of the GPU pool needs it; None: always."""
    check: Callable[..., list[Check]] | None = None
    """Finds on the CPU what would fail on the GPU; called like `function`."""
    run_shard: Callable[..., dict[str, Any]] | None = None
    """Does the part of the work that `Context.shard` names and leaves its files in `work/parts`, where `function` finds
    those of all shards and merges them. Called like `function`; returns measurements."""

    def pool_for(self, spec: Record) -> Literal["cpu", "gpu"]:
        """The pool that runs it with these settings."""
        return "cpu" if self.needs_gpu is not None and not self.needs_gpu(spec) else self.pool

    def code(self) -> dict[str, str]:
        """Fingerprint of all code that the result depends on."""
        modules = fingerprint(self.function.__module__, self.resources)
        return modules | (fingerprint(self.worker) if self.worker else {})

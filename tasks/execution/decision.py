"""Decision: whether a stage has to run, and why. `run`, `plan` and `doctor` decide with the same code."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Literal, Protocol

from artifacts.artifact_path import artifact_folder
from artifacts.artifact_store import DamageError, Store
from artifacts.cache_key import Identity, difference, identity_of, sha256
from artifacts.manifest import Manifest
from artifacts.reasons import explain
from artifacts.record import Record
from tasks.execution.stage import Stage

MAX_COMPARED_ARTIFACTS = 200
"""How many of the newest artifacts are compared to explain what changed. A store may have thousands."""


class Input(Protocol):
    """What one stage passes to the next: a receipt, or in a plan a PlannedArtifact."""

    @property
    def id(self) -> str: ...
    @property
    def digest(self) -> str: ...


class PlannedArtifact(Record):
    """In a plan, an artifact that does not exist yet. No key contains its `digest` unless it is certain."""

    id: str
    digest: str


class Decision(Record):
    """Whether a stage has to run, and why."""

    stage: str
    variant: str | None
    status: Literal["run", "reused"]
    reason: str
    identity: Identity
    key: str
    path: str
    """Folder of the artifact in the store."""
    manifest: Manifest | None = None
    """Of the artifact that is reused, refreshed or damaged."""


def identity(stage: Stage, spec: Record, inputs: Mapping[str, Input]) -> Identity:
    """The contents of the key of a stage's artifact."""
    return {
        "stage": stage.name,
        "version": stage.version,
        "code": stage.code(),
        "packages": {name: version(name) for name in stage.packages},
        "config": identity_of(spec),
        "inputs": {role: ref.digest for role, ref in inputs.items()},
    }


def decide(
    store: Store,
    stage: Stage,
    variant: str | None,
    spec: Record,
    inputs: Mapping[str, Input],
    refresh: bool = False,
) -> Decision:
    """Decide whether the stage has to run: reads the store, changes nothing."""
    contents = identity(stage, spec, inputs)
    key = sha256(contents)
    folder = artifact_folder(stage.name, stage.label(spec), key)

    def decision(status: Literal["run", "reused"], reason: str, manifest: Manifest | None = None) -> Decision:
        return Decision(
            stage=stage.name,
            variant=variant,
            status=status,
            reason=reason,
            identity=contents,
            key=key,
            path=folder,
            manifest=manifest,
        )

    manifest = None
    try:
        manifest = store.manifest(folder)
        if manifest is not None and manifest.key == key:
            store.check_payload(manifest)
            if refresh:
                return decision("run", "refresh was asked for", manifest)
            made_at = manifest.provenance.at[:16].replace("T", " ")
            return decision("reused", f"nothing changed since {made_at} UTC", manifest)
    except DamageError as damage:
        return decision("run", f"damaged: {damage}", manifest)
    closest = _closest(store, stage.name, variant, contents)
    if closest is None:
        return decision("run", "first run")
    old_ids = {role: ref.id for role, ref in closest.inputs.items()}
    new_ids = {role: ref.id for role, ref in inputs.items()}
    return decision("run", explain(difference(closest.identity, contents), stage.name, old_ids, new_ids))


def _closest(store: Store, stage: str, variant: str | None, contents: Identity) -> Manifest | None:
    """The artifact of the same variant whose identity differs least, of several the newest."""
    earlier = [m for m in store.latest(stage, MAX_COMPARED_ARTIFACTS) if m.variant == variant]
    earlier = earlier or [m for m in store.manifests(stage) if m.variant == variant]
    return min(reversed(earlier), key=lambda m: len(difference(m.identity, contents)), default=None)

"""Job: one stage with its settings and inputs, saved in the store so that an artifact can be made from its id alone.

<store>/jobs/<artifact id>.json
"""

import json
from collections.abc import Mapping

from pydantic import ConfigDict, Field, SerializeAsAny, ValidationError

from artifacts.artifact_path import artifact_folder
from artifacts.artifact_store import DamageError, Store
from artifacts.cache_key import Identity, sha256
from artifacts.errors import RequestError
from artifacts.manifest import Manifest, stored_as
from artifacts.record import Record
from artifacts.refs import Ref
from artifacts.text import one_line
from tasks.config import Runtime
from tasks.execution.stage import Artifact, Stage


class Job(Record):
    """One stage with everything that it needs to run: what a Prefect task or a worker receives."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    stage: str
    variant: str | None = stored_as("of")
    spec: SerializeAsAny[Record]
    """Settings, of the class that the stage declares."""
    inputs: dict[str, Ref]
    identity: Identity
    """As of the decision to run: code that is edited later makes another artifact."""
    run: str
    recipe: str = ""
    """Name and revision of the recipe, copied to the manifest."""
    origin: dict[str, str] = Field(default_factory=dict)
    """Further notes, copied to the manifest: `overrides` of the recipe, `prompt` of an evaluation."""
    refresh: bool = False
    runtime: Runtime = Runtime()

    @property
    def key(self) -> str:
        """Key of the artifact, sha256 of the identity."""
        return sha256(self.identity)

    @property
    def artifact(self) -> str:
        """Id of the artifact that it makes."""
        return f"{self.stage}-{self.key[:8]}"


def save_job(store: Store, job: Job) -> None:
    """Write a job to the store, without its `refresh`, which was a request of that run alone."""
    content = job.model_copy(update={"refresh": False}).model_dump_json(indent=1)
    store.side_files.write(content.encode(), "jobs", f"{job.artifact}.json")


def load_job(store: Store, artifact: str, stages: Mapping[str, Stage]) -> Job:
    """The job that makes an artifact, its inputs verified. RequestError if it is unknown or cannot be run."""
    content = store.side_files.read("jobs", f"{artifact}.json")
    if content is None:
        raise RequestError(
            f"{artifact}: the store {store.root} has no job for it; run its recipe once, or look up the id with "
            "`dialogsum show`"
        )
    try:
        return parse_job(content, stages)
    except ValidationError as error:
        problem = error.errors()[0]
        field = " ".join(str(part) for part in problem["loc"])
        raise RequestError(
            f"{artifact} cannot be made: {field}: {one_line(problem['msg'], 160)}; make that artifact again first"
        ) from error
    except ValueError as error:
        raise RequestError(
            f"{artifact} cannot be made: its job could not be parsed ({one_line(error, 160)})"
        ) from error


def parse_job(content: bytes, stages: Mapping[str, Stage]) -> Job:
    """The job with this JSON. ValueError, such as pydantic's ValidationError, if it is not a job of these stages."""
    fields = json.loads(content)
    if not isinstance(fields, dict) or fields.get("stage") not in stages:
        raise ValueError("it names no stage")
    # a runtime setting of an earlier version cannot change the result, and this version has no use for it
    runtime = {name: value for name, value in (fields.get("runtime") or {}).items() if name in Runtime.model_fields}
    spec = stages[fields["stage"]].spec.model_validate(fields.get("spec"))
    return Job.model_validate(fields | {"spec": spec, "runtime": runtime})


def intact_artifact(store: Store, stage: Stage, job: Job) -> Manifest | None:
    """The artifact that a job makes, every byte checked; None if it does not exist or is damaged."""
    try:
        manifest = store.verified(artifact_folder(stage.name, stage.label(job.spec), job.key))
    except DamageError:
        return None
    return manifest if manifest.key == job.key else None


def load_inputs(store: Store, job: Job) -> dict[str, Artifact]:
    """Role -> verified input of a job, its payload in a local folder."""
    manifests = {role: store.verified(ref.path) for role, ref in job.inputs.items()}
    return {role: Artifact(store.payload_of(manifest), manifest) for role, manifest in manifests.items()}

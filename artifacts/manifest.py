"""The manifest of an artifact: what it is, what it was made from, and the digest of every byte in it."""

from typing import Any, Self

from pydantic import AliasChoices, ConfigDict, Field

from artifacts.cache_key import Identity, sha256
from artifacts.record import Record

MANIFEST_FORMAT = 1
"""Raised when older versions of this project can no longer read a manifest."""


def stored_as(name: str) -> Any:
    """A field whose JSON key in existing stores is `name`."""
    return Field(validation_alias=AliasChoices(name), serialization_alias=name)


class FileDigest(Record):
    """Size and digest of one payload file."""

    bytes: int
    sha256: str


class InputRef(Record):
    """One input of an artifact: its id, and the digest that went into the key."""

    id: str
    digest: str


class Provenance(Record):
    """When, where and with what an artifact was made: true of this copy only, so no part of its identity or digest."""

    at: str
    """UTC time, ISO 8601."""
    seconds: float
    """Wall time of the stage, s."""
    run: str
    """Id of the run that made it."""
    origin: dict[str, str] = Field(default_factory=dict)
    """Sources of outside inputs (a path, a hub id). They are shown to people and are never part of the key."""
    versions: dict[str, str] = Field(default_factory=dict)
    measured: dict[str, Any] = Field(default_factory=dict)
    """Hardware, peak memory, throughput: what the stage measured about itself."""


class ArtifactId(Record):
    """What identifies an artifact, shared by its manifest and its receipts."""

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    id: str
    """`<stage>-<first 8 digits of key>`."""
    stage: str
    variant: str | None = stored_as("of")
    """Which of several artifacts of the stage in one run: train, eval, base, tuned, champion, seed n."""
    key: str
    """sha256 of the identity."""
    digest: str
    """Digest of its bytes and of its inputs (`content_digest`)."""
    path: str
    """Folder in the store, relative, forward slashes."""
    rows: int


class Manifest(ArtifactId):
    """The file of an artifact that is written last; its presence means that the payload is complete."""

    format: int = MANIFEST_FORMAT
    identity: Identity
    inputs: dict[str, InputRef]
    files: dict[str, FileDigest]
    facts: dict[str, Any]
    """Small results of the stage for readers of the artifact, such as counts and checks; no part of the digest."""
    provenance: Provenance = stored_as("made")
    checksum: str = Field(default="", validation_alias=AliasChoices("seal"), serialization_alias="seal")
    """sha256 of all other fields, so that an altered manifest is noticed."""

    def with_checksum(self) -> Self:
        """This manifest with its checksum."""
        return self.model_copy(update={"checksum": checksum_of(self.model_dump(mode="json"))})


def checksum_of(content: dict[str, Any]) -> str:
    """Checksum of a manifest's JSON over all its fields, including fields that only a newer version knows."""
    return sha256({name: value for name, value in content.items() if name != "seal"})


def content_digest(files: dict[str, FileDigest], inputs: dict[str, InputRef]) -> str:
    """Digest of an artifact: its bytes and, through the digests of its inputs, the bytes that those were made from.

    Settings and code are left out, so a stage that reruns and produces the same bytes leaves all later stages reused.
    Inputs are included, so that a changed dataset is a changed artifact in every later stage, scores included.
    """
    return sha256(
        {
            "files": {name: file.sha256 for name, file in files.items()},
            "inputs": {role: ref.digest for role, ref in inputs.items()},
        }
    )

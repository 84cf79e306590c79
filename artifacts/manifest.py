"""The manifest of an artifact: what it is, what it was made from, and the digest of every byte in it."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

from artifacts.cache_key import Identity, sha256


class Record(BaseModel):
    """A frozen pydantic model that refuses unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class FileSeal(Record):
    """Size and digest of one payload file."""

    bytes: int
    sha256: str


class InputRef(Record):
    """One input of an artifact: which artifact, and the digest that went into the key."""

    id: str
    digest: str


class Made(Record):
    """How an artifact came about: true of this copy only, so no part of its identity or digest."""

    at: str
    """UTC time, ISO 8601."""
    seconds: float
    """Wall time of the stage, s."""
    run: str
    """Which run made it."""
    origin: dict[str, str] = Field(default_factory=dict)
    """Where the inputs from outside lay (a path, a hub id): for people, never for the key."""
    versions: dict[str, str] = Field(default_factory=dict)
    measured: dict[str, Any] = Field(default_factory=dict)
    """Hardware, peak memory, throughput: whatever the stage measured of itself."""


class Manifest(Record):
    """The last file of an artifact to be written; its presence means that the payload is whole."""

    format: int = 1
    id: str
    stage: str
    of: str | None
    key: str
    digest: str
    path: str
    """Folder in the store, relative, forward slashes."""
    rows: int
    identity: Identity
    inputs: dict[str, InputRef]
    files: dict[str, FileSeal]
    facts: dict[str, Any]
    """Small findings of the stage, such as counts and checks."""
    made: Made
    seal: str = ""
    """sha256 of everything above, so that a changed manifest is noticed."""

    def sealed(self) -> Self:
        """This manifest with its seal."""
        return self.model_copy(update={"seal": seal_of(self.model_dump(mode="json"))})


def seal_of(content: dict[str, Any]) -> str:
    """The seal of a manifest's JSON, whatever fields it has: those of a newer version count too."""
    return sha256({name: value for name, value in content.items() if name != "seal"})


def content_digest(files: dict[str, FileSeal], inputs: dict[str, InputRef]) -> str:
    """Digest of an artifact: its bytes and, through the digests of its inputs, the bytes that those were made from.

    Neither settings nor code are in it: a stage that reruns and comes out the same leaves all behind it reused.
    The inputs are, so that a changed dataset is a changed artifact in every stage after it, scores included.
    """
    return sha256(
        {
            "files": {name: seal.sha256 for name, seal in files.items()},
            "inputs": {role: ref.digest for role, ref in inputs.items()},
        }
    )

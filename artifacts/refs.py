"""Receipts: what stages hand to one another. Small, frozen, JSON; the goods stay in the store.

Do not move or rename this class lightly: Prefect's stored results carry its qualified name.
"""

from typing import Any, Self

from pydantic import model_validator

from artifacts.artifact_store import Store
from artifacts.manifest import Manifest, Record


class Ref(Record):
    """A receipt for a whole artifact. It cannot be built unless the payload in the store verifies.

    Prefect rebuilds it when it looks for a cached result, and takes the ValueError for "no result".
    """

    id: str
    stage: str
    of: str | None
    key: str
    digest: str
    path: str
    rows: int

    @model_validator(mode="after")
    def _payload_is_whole(self) -> Self:
        manifest = Store.current().verified(self.path)
        if Ref.fields_of(manifest) != self.model_dump():
            raise ValueError(f"{self.path}: the receipt is not of this artifact")
        return self

    @staticmethod
    def fields_of(manifest: Manifest) -> dict[str, Any]:
        return manifest.model_dump(include=set(Ref.model_fields))

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> "Ref":
        return cls(**cls.fields_of(manifest))

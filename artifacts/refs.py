"""Receipts that stages pass to one another: small, frozen, JSON. The payload stays in the store.

Do not move or rename this class: Prefect's stored results contain its qualified name.
"""

from typing import Any, Self

from pydantic import model_validator

from artifacts.artifact_store import Store
from artifacts.manifest import ArtifactId, Manifest


class Ref(ArtifactId):
    """A receipt for a complete artifact. It cannot be built unless the payload in the store verifies.

    Prefect rebuilds it when it looks for a cached result, and treats the ValueError as "no result".
    """

    @model_validator(mode="after")
    def _payload_is_complete(self) -> Self:
        manifest = Store.current().verified(self.path)
        if Ref.fields_of(manifest) != self.model_dump():
            raise ValueError(f"{self.path}: the receipt does not belong to this artifact")
        return self

    @staticmethod
    def fields_of(manifest: Manifest) -> dict[str, Any]:
        return manifest.model_dump(include=set(Ref.model_fields))

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> "Ref":
        return cls(**cls.fields_of(manifest))

"""decision.json as records: the conditions of the promotion gate, and whether they are met."""

import json
from pathlib import Path
from typing import Any, Self

from pydantic import ConfigDict, Field

from artifacts.record import Record


class GateCheck(Record):
    """One condition of the gate."""

    model_config = ConfigDict(populate_by_name=True)

    name: str
    passed: bool
    observed: str = Field(validation_alias="got", serialization_alias="got")
    """The value as text; a complete sentence if nothing is required."""
    required: str = Field(validation_alias="wanted", serialization_alias="wanted")
    applied: bool = True
    """False if the data does not allow this check; it then passes."""

    @property
    def reason(self) -> str:
        """The condition in one sentence, with its value and what is required."""
        return f"{self.name}: {self.observed} (required: {self.required})" if self.required else self.observed


class GateDecision(Record):
    """The content of a decision artifact."""

    passed: bool
    checks: tuple[GateCheck, ...]
    reasons: tuple[str, ...]
    """The conditions that failed, or all of them if none did."""

    @classmethod
    def load(cls, payload: Path) -> Self:
        """Read decision.json from the payload folder of a promote artifact."""
        return cls.model_validate_json((payload / "decision.json").read_text(encoding="utf-8"))

    def save(self, folder: Path) -> None:
        (folder / "decision.json").write_text(json.dumps(self.as_json(), indent=1, sort_keys=True) + "\n")

    def as_json(self) -> dict[str, Any]:
        """The content of decision.json, with lists for tuples."""
        content: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return content

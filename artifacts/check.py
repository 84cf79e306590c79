"""Check: one finding about rows, hardware or services, printed and stored with the artifact that it concerns."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from artifacts.errors import StageError

CheckState = Literal["ok", "note", "failed"]
"""`note` is worth knowing but no reason to stop."""
SYMBOLS: dict[CheckState, str] = {"ok": "✓", "note": "•", "failed": "✗"}


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    state: CheckState
    detail: str
    """The sentence that people read."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """The numbers in that sentence."""

    def __str__(self) -> str:
        return f"{SYMBOLS[self.state]} {self.name}: {self.detail}"

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """The check whose `as_dict` is `content`, without its figures."""
        return cls(**content)

    def as_dict(self) -> dict[str, str]:
        """The check as JSON, for --json and for the facts of a manifest."""
        return {"name": self.name, "state": self.state, "detail": self.detail}

    def as_payload(self) -> dict[str, Any]:
        """JSON for a payload: no sentence, so that rewording it changes no digest."""
        return {"name": self.name, "state": self.state, "figures": dict(self.figures)}


def refuse_failed(checks: Iterable[Check]) -> None:
    """StageError that names the failed checks, if there are any."""
    if failed := [check for check in checks if check.state == "failed"]:
        raise StageError("checks before training failed: " + "; ".join(f"{c.name}: {c.detail}" for c in failed))

"""A check: one finding about an artifact or about this machine, with its state and the sentence that explains it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from artifacts.errors import StageError

CheckState = Literal["ok", "note", "failed"]
SYMBOLS: dict[CheckState, str] = {"ok": "✓", "note": "•", "failed": "✗"}


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    state: CheckState
    """`note` is worth knowing and stops nothing; `failed` stops the run."""
    detail: str

    def __str__(self) -> str:
        return f"{SYMBOLS[self.state]} {self.name}: {self.detail}"

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def refuse_failed(checks: Sequence[Check]) -> None:
    """Raise a StageError that names every failed check."""
    failed = [check for check in checks if check.state == "failed"]
    if failed:
        raise StageError("checks before training failed: " + "; ".join(f"{c.name}: {c.detail}" for c in failed))

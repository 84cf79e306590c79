"""The rows of the stage format that a training or a sampling takes."""

from collections.abc import Sequence
from typing import Any

from tasks.config import Fold


def select_rows(rows: Sequence[dict[str, Any]], stride: int, limit: int | None) -> Sequence[dict[str, Any]]:
    """Every `stride`-th row, and of those the first `limit`."""
    return rows[::stride][:limit]


def in_fold(rows: Sequence[dict[str, Any]], fold: Fold) -> list[bool]:
    """Of each row, whether its dialogue belongs to the fold. All references of a dialogue belong to the same one."""
    dialogues: dict[str, int] = {}
    numbers = [dialogues.setdefault(row["id"], len(dialogues)) for row in rows]
    return [number % fold.count == fold.index for number in numbers]

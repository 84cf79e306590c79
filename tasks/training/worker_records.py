"""What the trainer process receives and what it reports."""

from pathlib import Path
from typing import Any

from pydantic import Field

from artifacts.check import Check
from artifacts.record import Record
from tasks.config import Runtime, TrainSpec


class TrainingWorkerConfig(Record):
    """What to train, and where the process reads and writes."""

    spec: TrainSpec
    runtime: Runtime
    rows: Path
    """Folder with train.parquet and validation.parquet (format, train)."""
    expected_rows: int
    """Rows of train.parquet, as format counted them."""
    in_train_and_test: int
    """Dialogues that occur in both splits."""
    out: Path
    """Folder for the payload."""
    work: Path
    """Folder for checkpoints."""
    check_only: bool = False
    """Stop before the weights are loaded, and report the checks."""
    checkpoint_seconds: float = 60.0


class TrainingResult(Record):
    """What the trainer reports; with `check_only` only the checks."""

    checks: list[Check]
    rows: int = 0
    """Rows that were trained on."""
    steps: int = 0
    measured: dict[str, Any] = Field(default_factory=dict)
    """Hardware, speed and memory (tasks/training/throughput.py)."""

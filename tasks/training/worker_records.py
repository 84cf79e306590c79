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
    start: Path | None = None
    """Folder of the adapter from which a preference training starts."""
    candidates: tuple[Path, ...] = ()
    """Folders with candidates.parquet, of which the pairs are chosen."""
    distilled_from: dict[str, str] = Field(default_factory=dict)
    """Role -> digest of that adapter and those candidates."""
    check_only: bool = False
    """Stop before the weights are loaded, and report the checks."""
    checkpoint_seconds: float = 60.0


class TrainingMeasurements(Record):
    """Hardware, speed and memory of a training. The field names are those in manifests."""

    device: str
    processes: int
    engine: str
    """`packed`, or `trl` with the reason."""
    micro_batch: int
    """Rows of the largest micro-batch."""
    micro_tokens: int
    """Its tokens."""
    memory: str
    """Estimated need and free memory before the training."""
    loading_seconds: float
    compile_seconds: float
    """Warm-up: compilation and capture of CUDA graphs."""
    training_seconds: float
    """From the first validation to the last."""
    validation_seconds: float
    tokens_per_second: float
    """Of the steps, without validation."""
    peak_gib: float | None
    """Most GPU memory in use at once."""
    resumed_at: int | None = None
    """The step after which a checkpoint was resumed."""

    def as_dict(self) -> dict[str, Any]:
        """For the manifest; without `resumed_at` if the training was not interrupted."""
        return self.model_dump(exclude=set() if self.resumed_at else {"resumed_at"})


class TrainingResult(Record):
    """What the trainer reports; with `check_only` only the checks."""

    checks: list[Check]
    rows: int = 0
    """Rows or pairs that were trained on."""
    steps: int = 0
    preference: dict[str, float] = Field(default_factory=dict)
    """Counts and final figures of a preference training."""
    measured: TrainingMeasurements | None = None

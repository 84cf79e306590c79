"""What the process of the probe receives and what it reports."""

from pathlib import Path

from artifacts.record import Record
from tasks.config import ProbeSpec, Runtime


class ProbeWorkerConfig(Record):
    """Which pairs a process scores, and where it reads and writes."""

    spec: ProbeSpec
    runtime: Runtime
    rows: Path
    """Folder with prompts.parquet (format, eval)."""
    adapter: Path | None
    pairs: Path
    """Table of the pairs (PAIRS)."""
    out: Path
    """Table to write (LIKELIHOODS)."""


class ProbeMeasurements(Record):
    """Hardware, speed and memory of the process. The field names are those in manifests."""

    device: str
    dtype: str
    loading_seconds: float
    scoring_seconds: float
    tokens: int
    """Tokens of all forward passes, without padding."""
    halved: int
    """How often a batch was divided because memory ran out."""
    peak_gib: float | None
    """Most GPU memory in use at once."""

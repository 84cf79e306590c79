"""What a summarizing process receives and what it reports."""

from pathlib import Path

from artifacts.record import Record
from tasks.config import Runtime, SummarizeSpec


class SummarizationWorkerConfig(Record):
    """Which chunks of a table a process summarizes, and where it reads and writes."""

    spec: SummarizeSpec
    runtime: Runtime
    file: Path
    """The table."""
    column: str
    """Its column with dialogues."""
    format: str | None = None
    """Format of the dialogues; None: detected for each."""
    adapter: Path | None
    parts: Path
    """Folder for finished chunks."""
    chunk: int
    """Rows of a chunk."""
    shard: int
    """The process summarizes chunks `shard`, `shard + shards`, …"""
    shards: int


class SummarizationResult(Record):
    """Speed of one process."""

    seconds: float
    """Time for its chunks, without loading the model."""
    summarized: int
    """Rows that it summarized."""

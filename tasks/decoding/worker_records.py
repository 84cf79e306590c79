"""What a process that decodes receives and what it reports."""

from collections.abc import Sequence
from pathlib import Path

from artifacts.record import Record
from tasks.config import GenerateSpec, Runtime, SampleSpec


class ShardConfig(Record):
    """Which batches a process decodes, and where it reads and writes."""

    runtime: Runtime
    rows: Path
    """Folder of the formatted rows."""
    adapter: Path | None
    parts: Path
    """Folder for the files of finished batches."""
    shard: int
    """The process decodes batches `shard`, `shard + shards`, …"""
    shards: int
    processes: int
    """Processes on this machine, which share its cores."""


class DecodingWorkerConfig(ShardConfig):
    """What a generation process receives. `rows` has prompts.parquet (format, eval or validation)."""

    spec: GenerateSpec


class SamplingWorkerConfig(ShardConfig):
    """What a sampling process receives. `rows` has train.parquet and validation.parquet (format, train)."""

    spec: SampleSpec


class Measurements(Record):
    """Hardware, speed and memory of one process, or of several together. The field names are those in manifests."""

    device: str
    dtype: str
    batch: int
    """Most rows decoded together."""
    loading_seconds: float
    generating_seconds: float
    decoding_seconds: float
    recording_seconds: float
    """Capture of CUDA graphs."""
    choosing_seconds: float
    """Minimum Bayes risk."""
    tokens: int
    tokens_per_second: float | None
    halved: int
    """How often a batch was split because memory ran out."""
    peak_gib: float | None
    """Most GPU memory in use at once."""
    processes: int = 1

    @staticmethod
    def merge(measurements: Sequence["Measurements"]) -> "Measurements":
        """Of all processes: counts and speeds are summed; of times and memory the largest is taken."""
        speeds = [one.tokens_per_second for one in measurements if one.tokens_per_second is not None]
        peaks = [one.peak_gib for one in measurements if one.peak_gib is not None]
        return measurements[0].model_copy(
            update={
                "loading_seconds": max(one.loading_seconds for one in measurements),
                "generating_seconds": max(one.generating_seconds for one in measurements),
                "decoding_seconds": max(one.decoding_seconds for one in measurements),
                "recording_seconds": max(one.recording_seconds for one in measurements),
                "choosing_seconds": max(one.choosing_seconds for one in measurements),
                "tokens": sum(one.tokens for one in measurements),
                "tokens_per_second": round(sum(speeds), 1) if speeds else None,
                "halved": sum(one.halved for one in measurements),
                "peak_gib": max(peaks, default=None),
                "processes": sum(one.processes for one in measurements),
            }
        )

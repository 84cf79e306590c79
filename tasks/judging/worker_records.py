"""What a process of the judge receives and what it reports."""

from collections.abc import Sequence
from pathlib import Path

from artifacts.record import Record
from tasks.config import JudgeClassifier, Runtime
from tasks.judging.texts import JudgedText


class JudgedTexts(Record):
    """All texts of a stage, as JSON in its scratch folder."""

    texts: tuple[JudgedText, ...]


class JudgeWorkerConfig(Record):
    """Which batches a process judges, and where it reads and writes."""

    classifier: JudgeClassifier
    runtime: Runtime
    texts: Path
    """File with JudgedTexts."""
    parts: Path
    """Folder for the files of finished batches."""
    shard: int
    """The process judges batches `shard`, `shard + shards`, …"""
    shards: int
    """Processes on this machine, which share its cores."""


class JudgeMeasurements(Record):
    """Hardware and speed of one process, or of several together. The field names are those in manifests."""

    device: str
    label: str
    """Label of the classifier whose probability is the score."""
    judging_seconds: float
    tokens: int
    tokens_per_second: float | None
    processes: int = 1

    @staticmethod
    def merge(measurements: Sequence["JudgeMeasurements"]) -> "JudgeMeasurements":
        """Of all processes: counts and speeds are summed, of times the longest is taken."""
        speeds = [one.tokens_per_second for one in measurements if one.tokens_per_second is not None]
        return measurements[0].model_copy(
            update={
                "judging_seconds": max(one.judging_seconds for one in measurements),
                "tokens": sum(one.tokens for one in measurements),
                "tokens_per_second": round(sum(speeds), 1) if speeds else None,
                "processes": len(measurements),
            }
        )

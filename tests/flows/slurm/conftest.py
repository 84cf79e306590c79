"""The job that these tests send to Slurm."""

import pytest

from tasks.config import DataConfig, DownloadSpec
from tasks.download import DOWNLOAD
from tasks.execution.decision import identity
from tasks.execution.job import Job
from tasks.sources.resolve import resolve_data


@pytest.fixture
def job() -> Job:
    """A download of the bundled sample, which needs no model."""
    spec = DownloadSpec(data=resolve_data(DataConfig(source="sample")))
    return Job(stage="download", variant=None, spec=spec, inputs={}, identity=identity(DOWNLOAD, spec, {}), run="test")

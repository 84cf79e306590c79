"""Fixtures that the tests of the report and of its parts share."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from artifacts.artifact_store import Store

if TYPE_CHECKING:
    from tests.support.reports import ReportBuilder


@pytest.fixture
def report_builder(tmp_path: Path, store: Store) -> "ReportBuilder":
    """A builder of reports on 24 dialogues of the sample."""
    from tests.support.reports import sample_report_builder

    return sample_report_builder(tmp_path, store)

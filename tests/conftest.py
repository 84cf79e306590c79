"""Fixtures of all tests: an empty store, tiny data, tiny random models with a tokenizer trained on the sample, servers.

Nothing here touches the network, and no test sees the user's store or Prefect profile.
"""

import os
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

os.environ |= {
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",  # several workers of pytest share the cores, and models are tiny
}

import pytest

from artifacts.artifact_store import Store
from tests.faults.fault_table import (
    pytest_collection_modifyitems,
    pytest_runtest_makereport,
    pytest_terminal_summary,
    tally,
)
from tests.support.artifacts import ArtifactFactory
from tests.support.data import tiny_data
from tests.support.pipelines import patch_workers_inline
from tests.support.servers import S3

if TYPE_CHECKING:
    from tests.support.stations import LocalStation

__all__ = ["pytest_collection_modifyitems", "pytest_runtest_makereport", "pytest_terminal_summary", "tally"]


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Undo after each test what it, or a command called in this process, set in the environment.

    A command also makes the requests of its process wait for the Prefect server. Threads of an earlier test would then
    go on asking a server that is gone.
    """
    with patch.dict(os.environ):
        yield
    if outage := sys.modules.get("tasks.server_outage"):
        outage.stop_waiting()


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty store that DIALOGSUM_STORE names."""
    monkeypatch.setenv("DIALOGSUM_STORE", str(tmp_path / "store"))
    return Store.current()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """One S3 server, with a bucket called `bucket`, for all tests that only read and write there."""
    server = S3(tmp_path_factory.mktemp("s3"))
    yield server
    server.kill()


@pytest.fixture
def s3(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of an empty store on that server, whose credentials this process has."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://bucket/{uuid.uuid4().hex}"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder with tiny data, which the test may change."""
    return tiny_data(tmp_path / "data")


@pytest.fixture
def artifact_factory(tmp_path: Path, store: Store) -> ArtifactFactory:
    return ArtifactFactory(tmp_path, store)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny random models, `gemma` and `llama`."""
    from tests.support.models import build_tiny_models  # imports torch

    return build_tiny_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One ephemeral Prefect server for all tests that run flows."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def workers_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers run in this process; see `patch_workers_inline`."""
    patch_workers_inline(monkeypatch)


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Iterator["LocalStation"]:
    """A running station for all tests of a file; afterwards it is taken down, and no process of it may be left."""
    from tests.support.stations import LocalStation  # imports Prefect

    running = LocalStation(tmp_path_factory.mktemp("station"), models["llama"])
    try:
        running.first = running.up()
        yield running
    finally:
        running.command("down")
        assert "the station is down already" in running.command("down")
        assert not list((running.folder / "station").glob("*.process.json"))
        assert running.processes() == []

"""A server of two tiny adapters."""

from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from artifacts.artifact_store import Store
from tests.support.serving import TwoAdapters, config_for, running


@pytest.fixture
def adapters(store: Store, models: dict[str, Path], tmp_path: Path) -> TwoAdapters:
    """The first one is champion."""
    adapters = TwoAdapters(store, models["llama"], tmp_path / "adapters")
    adapters.promote(0)
    return adapters


@pytest.fixture(scope="module")
def one_server(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, TwoAdapters]]:
    folder = tmp_path_factory.mktemp("served")
    with patch.dict("os.environ", DIALOGSUM_STORE=str(folder / "store")):
        adapters = TwoAdapters(Store.current(), models["llama"], folder / "adapters")
        adapters.promote(0)
        with running(config_for(models["llama"], poll_seconds=60)) as url:
            yield url, adapters


@pytest.fixture
def served(
    one_server: tuple[str, TwoAdapters], store: Store, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, TwoAdapters]:
    """One server for the tests that change nothing: its address and its adapters."""
    monkeypatch.setenv("DIALOGSUM_STORE", str(one_server[1].store.root))  # it runs in this process
    return one_server

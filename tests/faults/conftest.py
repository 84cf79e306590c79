"""Real faults. Each test counts its tries and what was lost; tests/faults/fault_table.py prints the table.

`make test-faults` runs the long forms (marker `faults`) and the short ones, `make test` the short ones alone.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from tests.support.data import tiny_data
from tests.support.pipelines import patch_workers_inline, small_overrides


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path], prefect_server: None) -> Path:
    """A folder with `data` and the `store` of one finished run of the real flow."""
    folder = tmp_path_factory.mktemp("finished")
    tiny_data(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIALOGSUM_STORE", str(folder / "store"))
        patch_workers_inline(patch)
        from flows.pipeline import retrain

        retrain(recipe="smollm2-135m", overrides=small_overrides("smollm2-135m", models["llama"], folder / "data"))
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path, store: Store) -> Path:
    """A copy of that folder; its store is the test's."""
    shutil.copytree(finished / "data", tmp_path / "data")
    shutil.copytree(finished / "store", store.root.path)
    return tmp_path


@pytest.fixture
def overrides(copied: Path, models: dict[str, Path]) -> list[str]:
    """The overrides with which a run reuses every stage of the copy."""
    return small_overrides("smollm2-135m", models["llama"], copied / "data")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """`command("plan", …)` calls the command line in this process: exit code, standard output, standard error."""
    from flows.cli.main import main

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dialogsum", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), *capfd.readouterr()

    return call

"""A store with runs to track, made once, and a tracker that keeps what it gets."""

import shutil
from pathlib import Path

import pytest

from artifacts.artifact_store import Store
from tests.support.data import tiny_data
from tests.support.pipelines import DagWalker, patch_known_summaries, patch_workers_inline, small_overrides


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path]) -> Path:
    """Of a recipe with two seeds: the artifacts of every stage."""
    folder = tmp_path_factory.mktemp("walked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIALOGSUM_STORE", str(folder / "store"))
        data = tiny_data(folder / "data")
        patch_workers_inline(patch)
        patch_known_summaries(patch, data)
        DagWalker().through(small_overrides("smollm2-135m", models["llama"], data, "seeds=2"))
    return folder


@pytest.fixture
def tracked_store(walked: Path, store: Store) -> Store:
    """A copy of that store."""
    shutil.copytree(walked / "store", Path(store.root.path))
    return store

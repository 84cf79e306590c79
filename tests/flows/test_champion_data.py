"""The champion's dataset: it is found through the adapter's training rows, and its loss ends no run."""

import shutil
from pathlib import Path

import pytest

from artifacts.artifact_store import Store
from artifacts.manifest import InputRef, Manifest, Provenance
from flows.champion_data import champion_data
from tasks.config import ChampionData
from tests.support.data import read_csv, tiny_data, write_csv
from tests.support.data_stages import downloaded_dataset, formatted_split


def adapter_trained_on(store: Store, folder: Path, data: Path) -> tuple[Manifest, Manifest, Manifest]:
    """An adapter that names its training rows, these rows, and their dataset."""
    dataset, rows = downloaded_dataset(data), formatted_split(data, "train")
    out = folder / "adapter"
    out.mkdir()
    (out / "adapter.bin").write_bytes(b"weights")
    adapter = store.publish(
        out,
        stage="train",
        variant=None,
        name="adapter",
        key="1a2b3c4d" * 8,
        rows=12,
        identity={},
        inputs={"rows": InputRef(id=rows.id, digest=rows.digest)},
        facts={},
        provenance=Provenance(at="2026-01-01T00:00:00", seconds=0, run="test"),
    )
    return adapter, rows, dataset


def changed_data(folder: Path) -> Manifest:
    """The dataset of the tiny data without its first training row."""
    data = tiny_data(folder / "changed")
    write_csv(data / "train.csv", read_csv(data / "train.csv")[1:])
    return downloaded_dataset(data)


def test_only_another_dataset_is_an_input_of_the_report(store: Store, tmp_path: Path, data: Path) -> None:
    adapter, _, dataset = adapter_trained_on(store, tmp_path, data)
    assert champion_data(adapter.id, dataset) == (ChampionData(champion=adapter.id), None)
    assert champion_data(adapter.id, changed_data(tmp_path)) == (ChampionData(champion=adapter.id), dataset)


@pytest.mark.parametrize("lost", ["adapter", "rows", "dataset"])
@pytest.mark.parametrize("how", ["removed", "damaged"])
def test_what_is_missing_or_damaged_is_named_without_a_path(
    store: Store, tmp_path: Path, data: Path, lost: str, how: str
) -> None:
    """The reason is part of the report's key: a store that is moved must not rerun the report."""
    artifacts = dict(zip(("adapter", "rows", "dataset"), adapter_trained_on(store, tmp_path, data), strict=True))
    other, folder = changed_data(tmp_path), Path(store.absolute(artifacts[lost].path))
    if how == "removed":
        shutil.rmtree(folder)
    else:
        file = "payload/train.parquet" if lost == "dataset" else "manifest.json"
        (folder / file).write_bytes(b"other bytes")
    adapter = artifacts["adapter"].id
    reason = f"{artifacts[lost].id} is missing or damaged"
    assert champion_data(adapter, other) == (ChampionData(champion=adapter, not_compared=reason), None)


def test_a_dataset_that_was_made_again_with_other_rows_is_not_taken_for_that_of_the_champion(
    store: Store, tmp_path: Path, data: Path
) -> None:
    """The same id, other bytes: the champion was trained on rows that are gone."""
    adapter, _, dataset = adapter_trained_on(store, tmp_path, data)
    other = changed_data(tmp_path)
    folder = Path(store.absolute(dataset.path))
    shutil.copytree(Path(store.absolute(other.path)) / "payload", folder / "payload", dirs_exist_ok=True)
    remade = dataset.model_copy(update={"files": other.files, "digest": other.digest}).with_checksum()
    (folder / "manifest.json").write_text(remade.model_dump_json(by_alias=True))
    reason = f"{dataset.id} was made again with other rows"
    assert champion_data(adapter.id, other) == (ChampionData(champion=adapter.id, not_compared=reason), None)

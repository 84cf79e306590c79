"""Champions and disks in the status, also of stores that cannot be read."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from artifacts.errors import RequestError
from flows.station.store_status import champions_in_force, check_disks, min_free_gb

Space = namedtuple("Space", "total used free")


def champion(adapter: str) -> Champion:
    return Champion(adapter=adapter, template="{dialogue}", turns="none", generate={})


def test_each_base_model_has_its_champion_and_one_that_was_rolled_back_is_none(store: Store) -> None:
    for base, adapters in {"a" * 64: ["train-11111111", "train-22222222"], "b" * 64: ["train-33333333"]}.items():
        for adapter in adapters:
            Champions(store, base).promote(champion(adapter), "score-11111111", "test")
    Champions(store, "b" * 64).roll_back("test")
    found = champions_in_force(store)
    assert [(each.base_model, each.adapter) for each in found] == [("a" * 12, "train-22222222")]
    assert found[0].since == Champions(store, "a" * 64).changes[-1].at


@pytest.mark.parametrize(("free", "full"), [(2_999_999_999, True), (3_000_000_000, False)])
def test_less_space_than_the_threshold_is_a_problem(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, full: bool
) -> None:
    """Store, scratch and station share the disk of this test: one line, which names the folder and the threshold."""
    monkeypatch.setenv("DIALOGSUM_MIN_FREE_GB", "3")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Space(10**11, 10**11 - free, free))
    disks, problems = check_disks(store, tmp_path / "station")
    assert [(disk.holds, disk.free_bytes, disk.total_bytes) for disk in disks] == [
        ("store, scratch, station", free, 10**11)
    ]
    assert len(problems) == full
    assert all(str(store.root) in line and "less than 3 GB" in line and "`dialogsum gc`" in line for line in problems)


@pytest.mark.parametrize("text", ["much", "-1", "inf", "nan"])
def test_a_threshold_that_is_no_size_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DIALOGSUM_MIN_FREE_GB", text)
    with pytest.raises(RequestError, match="DIALOGSUM_MIN_FREE_GB"):
        min_free_gb()

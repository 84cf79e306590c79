"""The data of a soak grows each week and is always a dataset that a recipe takes."""

from pathlib import Path

from flows.benchmarks.soak_data import MOST_WEEKS, write_data
from tasks.config import DataConfig
from tasks.sources.resolve import resolve_data
from tests.support.data import read_csv
from tests.support.paths import SAMPLE


def test_each_week_has_new_dialogues_and_keeps_the_former(tmp_path: Path) -> None:
    """Up to the last week that the command takes. Every dialogue is the beginning of one of the sample."""
    known = {row["id"]: row["dialogue"] for split in ("train", "test") for row in read_csv(SAMPLE / f"{split}.csv")}
    before, revisions = list[str](), set[str]()
    for week in range(1, MOST_WEEKS + 1):
        write_data(tmp_path, week)
        rows = read_csv(tmp_path / "train.csv")
        ids = [row["id"] for row in rows]
        assert (ids[:-1], len(ids)) == (before or ids[:-1], 11 + week)
        assert all(known[row["id"]].startswith(row["dialogue"]) for row in rows)
        before = ids
        tests = read_csv(tmp_path / "test.csv")
        assert len(tests) == 3 * len({row["dialogue"] for row in tests}) == 3 * (4 + week // 4)
        revisions.add(resolve_data(DataConfig(source=str(tmp_path))).revision)
    assert len(revisions) == MOST_WEEKS

"""The table of candidates: its choices and scores by hand, and a run on the samples of a tiny adapter."""

from pathlib import Path

import pytest

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from flows.benchmarks.candidates import bench_candidates, compare_counts
from tests.support.models import publish_adapter
from tests.support.pipelines import small_overrides

GOOD, BAD, OTHER = "Tom buys a car.", "Ann sleeps.", "Tom buys a red car today."


def test_the_first_candidates_are_compared_and_seconds_are_in_proportion() -> None:
    """Of the first two, which agree as much with each other, the first is chosen; of all four a good one."""
    rows = compare_counts([[BAD, GOOD, OTHER, GOOD]], [[GOOD]], [2, 4], 8.0, "auto")
    assert [row["system"] for row in rows] == ["one sample", "best of 2", "best of 4"]
    assert [row["decoding s"] for row in rows] == [2.0, 4.0, 8.0]
    assert [row["ROUGE-1"] for row in rows[1:]] == [0.0, 100.0]
    other = 100 * 2 * 4 / (4 + 6)
    assert rows[0]["ROUGE-1"] == pytest.approx((0 + 100 + other + 100) / 4, abs=0.01)
    for row in rows:
        assert row["seconds"] == pytest.approx(row["decoding s"] + row["choosing s"], abs=0.011)


@pytest.mark.usefixtures("workers_inline")
def test_samples_are_stored_and_reused(store: Store, models: dict[str, Path], data: Path, tmp_path: Path) -> None:
    llama = models["llama"]
    publish_adapter(store, llama, tmp_path / "adapter", "{dialogue}")
    overrides = small_overrides("smollm2-135m", llama, data)
    rows, remark = bench_candidates("smollm2-135m", overrides, "latest", [3, 2])
    assert [row["system"] for row in rows] == ["one sample", "best of 2", "best of 3"]
    assert "validation dialogues" in remark
    samples = store.manifests("sample")
    assert len(samples) == 1
    again, _ = bench_candidates("smollm2-135m", overrides, "latest", [2, 3])
    assert store.manifests("sample") == samples
    assert [row["ROUGE-1"] for row in again] == [row["ROUGE-1"] for row in rows]


def test_wrong_requests_are_refused(store: Store, models: dict[str, Path], data: Path) -> None:
    overrides = small_overrides("smollm2-135m", models["llama"], data)
    with pytest.raises(RequestError, match="--counts: got 1,4"):
        bench_candidates("smollm2-135m", overrides, "latest", [1, 4])
    with pytest.raises(RequestError, match="--adapter none"):
        bench_candidates("smollm2-135m", overrides, "none")

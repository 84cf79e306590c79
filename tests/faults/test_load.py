"""Row 20: load. How long it takes is measured by `dialogsum bench load` (BENCHMARKS.md), not here.

tests/system/test_station.py queues evaluations on one worker.
"""

import tracemalloc
from pathlib import Path
from typing import Any

import pytest

import artifacts.schemas
from artifacts.artifact_store import Store
from artifacts.refs import Ref
from tasks.config import DataConfig, DownloadSpec, FormatSpec, Runtime
from tasks.execution.decision import identity
from tasks.execution.executor import execute
from tasks.execution.job import Job
from tasks.registry import STAGES
from tasks.sources.resolve import resolve_data
from tasks.workers.events import NullListener
from tests.faults.fault_table import Tally
from tests.support.data import write_csv


def peak_of(folder: Path, rows: int) -> int:
    """Most bytes that Python holds while that many rows go through `download` and `format`."""
    for split, count in (("train", rows), ("validation", 40), ("test", 40)):
        write_csv(
            folder / f"{split}.csv",
            [
                {
                    "id": f"{split}_{i}",
                    "dialogue": f"#Person1#: {split} {i} " + "talk " * 200,
                    "summary": "s",
                    "topic": "t",
                }
                for i in range(count)
            ],
        )
    inputs: dict[str, Ref] = {}
    tracemalloc.start()
    try:
        for name, variant, spec in (
            ("download", None, DownloadSpec(data=resolve_data(DataConfig(source=str(folder))))),
            ("format", "train", FormatSpec(rows="train", template="Sum up:\n{dialogue}")),
        ):
            job = Job(
                stage=name,
                variant=variant,
                spec=spec,
                inputs=inputs,
                run="load",
                runtime=Runtime(device="cpu"),
                identity=identity(STAGES[name], spec, inputs),
            )
            manifest, ran = execute(Store.current(), STAGES[name], job, NullListener())
            inputs = {"dataset": Ref.of_manifest(manifest)}
            assert (ran, manifest.rows) == (True, rows + 80 * (name == "download"))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_is_flat_in_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally) -> None:
    """Eight times the rows, in sixteen times as many batches: but for their ids, no more memory."""
    monkeypatch.setattr(artifacts.schemas, "BATCH_ROWS", 128)
    few, many = peak_of(tmp_path / "few", 1000), peak_of(tmp_path / "many", 8000)
    text = 7000 * 1000  # bytes that came on top
    tally("20 rows through download and format, memory flat", 2, [] if many - few < 0.3 * text else [(few, many)])


@pytest.mark.faults
def test_a_large_store_and_a_large_dataset_are_worked_through(tally: Tally) -> None:
    """All commands over 10,000 artifacts; 100,000 rows through every CPU stage."""
    from flows.benchmarks.load import bench_load

    manifests = Store.current().manifests()
    table: list[Any] = bench_load(10_000, 100_000)[0]
    assert len(table) >= 12
    assert Store.current().manifests() == manifests  # it has a store of its own
    tally("20 10,000 artifacts, 100,000 rows", len(table), [])

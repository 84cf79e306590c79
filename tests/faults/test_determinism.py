"""Row 21: the same recipe twice gives the same bytes, except for times.

tests/tasks/test_train.py trains twice and with other micro-batches; in tests/tasks/test_generate.py two processes write
the bytes that one writes.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from tests.faults.fault_table import Tally
from tests.faults.run_helpers import Runs
from tests.support.pipelines import DagWalker, small_overrides

TIMES = re.compile(
    r"<section[^>]*>\s*<h2[^>]*>Time and lineage</h2>.*?</section>"
    r"|(?<= rows, )[\d.]+(?= s\))"
    r"|\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?"  # moments
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",  # runs
    re.DOTALL,
)


def different(one: Store, other: Store) -> list[str]:
    """Files of the artifacts of one store that the other has not, or not so. The report without times and runs."""
    lost, theirs = [], {m.id: m for m in other.manifests()}
    for mine in one.manifests():
        if mine.id not in theirs:
            lost.append(mine.id)
            continue
        for name in mine.files:
            pair = [(Path(str(s.absolute(mine.path))) / "payload" / name).read_bytes() for s in (one, other)]
            if mine.stage == "report":
                pair = [TIMES.sub("", content.decode()).encode() for content in pair]
            if pair[0] != pair[1]:
                lost.append(f"{mine.id}/{name}")
    return lost


@pytest.mark.slow
@pytest.mark.usefixtures("workers_inline")
def test_the_same_recipe_twice_gives_the_same_bytes(
    models: dict[str, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    """In two stores; adapter, predictions, scores and report among them."""
    stores = []
    for name in ("one", "other"):
        monkeypatch.setenv("DIALOGSUM_STORE", str(tmp_path / name))
        DagWalker().through(small_overrides("smollm2-135m", models["llama"], data))
        stores.append(Store.current())
    files = {f"{m.stage}/{name}" for m in stores[0].manifests() for name in m.files}
    assert {
        "train/adapter_model.safetensors",
        "generate/predictions.parquet",
        "score/scores.json",
        "report/report.html",
    } <= files
    tally("21 the same recipe twice", len(stores[0].manifests()), different(*stores))


@pytest.mark.faults
def test_threads_and_processes_change_no_byte(
    models: dict[str, Path], data: Path, tmp_path: Path, tally: Tally
) -> None:
    """The command line twice, with real worker processes: once with one thread, once with two and small batches."""
    lost: list[Any] = []
    stores = []
    for name, more in (
        ("one", ["runtime.threads=1"]),
        ("other", ["runtime.threads=2", "runtime.generate_batch_size=2"]),
    ):
        runs = Runs(tmp_path / name, [*small_overrides("smollm2-135m", models["llama"], data), *more])
        try:
            runs.finished(name, lost)
        finally:
            runs.close()
        stores.append(Store(runs.store_folder(name)))
    lost += different(*stores)
    tally("21 the same recipe twice, other threads and batches", len(stores[0].manifests()), lost)

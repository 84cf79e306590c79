"""bench probe: the swapped data, by hand, and its table from a tiny model."""

from pathlib import Path
from typing import Any

import pytest

from artifacts.schemas import DATASET, write_table
from flows.benchmarks.children import probed_models
from flows.benchmarks.children.probed_models import exchanged, write_swapped
from flows.benchmarks.environment import BenchmarkRun, BenchmarkSettings
from flows.benchmarks.probe import bench_probe
from tasks.probing.mentions import Speaker
from tests.support.data import read_csv
from tests.support.pipelines import patch_workers_inline, small_overrides

TAGS = (Speaker(("#Person1#",)), Speaker(("#Person2#",)), Speaker(("#Person3#",)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#Person1# helps #Person2#.", "#Person2# helps #Person1#."),
        ("Ann helps #Person2#.", "Ann helps #Person1#."),
        ("#Person3# leaves.", "#Person3# leaves."),
    ],
)
def test_the_first_two_speakers_are_exchanged_wherever_they_stand(text: str, expected: str) -> None:
    assert exchanged(text, TAGS) == expected
    assert exchanged(text, TAGS[:1]) == text


def test_only_what_is_trained_is_swapped(tmp_path: Path) -> None:
    """Two of three training summaries name a speaker; the test split is as it was, with its references."""
    dialogue = "#Person1#: Hi.\n#Person2#: Ho."
    summaries = [["#Person1# is glad."], ["#Person2# is #Person1#'s friend."], ["It rains."]]
    rows = [
        {"id": f"x_{i}", "dialogue": f"{dialogue} {i}", "references": texts, "topics": ["t"] * len(texts)}
        for i, texts in enumerate(summaries)
    ]
    test = [{"id": "t", "dialogue": dialogue, "references": ["#Person1# a.", "#Person2# b."], "topics": ["t", "t"]}]
    for split, content in (("train", rows), ("validation", rows[:1]), ("test", test)):
        write_table(content, DATASET, tmp_path / f"{split}.parquet")
    assert write_swapped(tmp_path, tmp_path / "out") == (2, 3)
    assert [row["summary"] for row in read_csv(tmp_path / "out" / "train.csv")] == [
        "#Person2# is glad.",
        "#Person1# is #Person2#'s friend.",
        "It rains.",
    ]
    assert [(row["id"], row["summary"]) for row in read_csv(tmp_path / "out" / "test.csv")] == [
        ("t_1", "#Person1# a."),
        ("t_2", "#Person2# b."),
    ]


def test_the_table_has_three_models_and_the_gates_verdict(
    models: dict[str, Path], data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The child runs in this process, with a tiny model."""
    patch_workers_inline(monkeypatch)

    def in_process(self: BenchmarkRun, system: str, module: str, /, *overrides: str, **config: Any) -> dict[str, Any]:
        assert module == "children.probed_models"
        monkeypatch.setenv("DIALOGSUM_STORE", str(self.folder / "store"))
        return probed_models.measure(config | {"recipe": self.recipe, "overrides": list(self.overrides)})

    monkeypatch.setattr(BenchmarkRun, "run_system", in_process)
    overrides = small_overrides("quickstart", models["llama"], data, "probe.dialogues=4")
    rows, remark = bench_probe(
        BenchmarkSettings(
            recipe="quickstart", model=str(models["llama"]), data=None, work=tmp_path, overrides=(*overrides,)
        )
    )
    assert rows[-1]["kind"] == "all kinds"
    assert {"base", "tuned", "tuned on swapped speakers", "swapped - tuned"} <= set(rows[0])
    assert "The gate passes the swapped model" in remark or "The gate rejects the swapped model" in remark
    assert "of 12 training summaries" in remark

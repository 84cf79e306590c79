"""scores.json as records: what is written is read back, also as earlier versions wrote it."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from artifacts.errors import StageError
from tasks.metrics.row_scores import read_row_scores
from tasks.metrics.score_table import System
from tasks.metrics.scores import Scores
from tests.support.artifacts import ArtifactFactory


@pytest.fixture
def scored(artifact_factory: ArtifactFactory) -> Path:
    """The folder of a scores.json of base, tuned and champion."""
    outputs = [artifact_factory.predictions([text] * 6) for text in ("a dog", "the cat sat", "the cat")]
    _, folder = artifact_factory.score(artifact_factory.dataset([["the cat sat", "a cat"]] * 6), *outputs)
    return folder


def test_saving_what_was_loaded_writes_the_same_bytes(scored: Path, tmp_path: Path) -> None:
    """Names of attributes differ from the keys of the file, which stay as they were."""
    Scores.load(scored).save(tmp_path)
    assert (tmp_path / "scores.json").read_bytes() == (scored / "scores.json").read_bytes()


def test_attributes_are_the_values_of_the_file(scored: Path) -> None:
    content, scores = json.loads((scored / "scores.json").read_text()), Scores.load(scored)
    difference = content["differences"]["champion"]["rouge1"]
    assert scores.differences[System.CHAMPION]["rouge1"].probability_better == difference["better"]
    assert scores.diagnostics[System.TUNED] == content["behaviour"]["tuned"]
    systems = content["protocols"]["mean of references, stemming"]["systems"]
    assert scores.under_headline_protocol.systems[System.HUMAN]["rouge1"].f1 == systems["human"]["rouge1"]["f1"]


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (("base", "champion", "before"), "before"),
        (("base", "champion"), "champion"),
        (("base",), "base"),
        ((), None),
    ],
)
def test_the_most_relevant_system_is_compared_with(scored: Path, present: tuple[str, ...], expected: str) -> None:
    """The previous prompt of the same adapter, else the champion, else the base model."""
    scores = Scores.load(scored)
    any_difference = scores.differences["base"]
    scores = scores.model_copy(update={"differences": dict.fromkeys(present, any_difference)})
    assert scores.comparison_system == expected


def test_scores_of_an_earlier_version_are_read(scored: Path) -> None:
    """They do not have the list of measures that were not applied."""
    content = json.loads((scored / "scores.json").read_text())
    del content["not_applied"]
    (scored / "scores.json").write_text(json.dumps(content))
    assert Scores.load(scored).not_applied == {}


def test_row_scores_of_an_earlier_version_are_read(scored: Path, tmp_path: Path) -> None:
    """They have no column for wrong numbers; any other difference is refused."""
    file, earlier = scored / "rows.parquet", tmp_path / "rows.parquet"
    pq.write_table(pq.read_table(file).drop_columns("number_error"), earlier)
    rows = read_row_scores(file)
    assert {row["number_error"] for row in rows} == {0}
    expected = [row | {"number_error": None} for row in rows]
    assert str(read_row_scores(earlier)) == str(expected)  # `copied` is NaN, which is not equal to itself
    pq.write_table(pq.read_table(file).drop_columns("copied"), earlier)
    with pytest.raises(StageError, match=r"rows\.parquet has columns"):
        read_row_scores(earlier)


def test_a_renamed_key_is_refused(scored: Path) -> None:
    """A score is never silently missing."""
    text = (scored / "scores.json").read_text()
    (scored / "scores.json").write_text(text.replace('"f1"', '"F1"'))
    with pytest.raises(ValidationError, match="f1"):
        Scores.load(scored)


@pytest.mark.parametrize(("rows", "expected"), [(40, "40"), (8, "8 of 40")])
def test_a_part_of_the_split_is_named_as_one(scored: Path, rows: int, expected: str) -> None:
    protocol = Scores.load(scored).under_headline_protocol.protocol
    assert protocol.model_copy(update={"rows": rows, "rows_in_split": 40}).dialogues == expected

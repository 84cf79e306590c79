"""Formatted rows: one per reference for training, one per dialogue for evaluation."""

from pathlib import Path

import pytest

from artifacts.errors import RequestError
from tests.support.data import read_csv, write_csv
from tests.support.data_stages import dialogue_row, formatted_split, read_split


def test_training_rows_are_one_a_reference_and_evaluation_rows_one_a_dialogue(data: Path) -> None:
    """Every reference is learned from, every dialogue is summarized once, under the same prompt text."""
    train = [
        dialogue_row(f"train_{n}_{k}", f"Dialogue {n} with {{braces}}", f"s{n}{k}") for n in (1, 2) for k in (1, 2, 3)
    ]
    write_csv(data / "train.csv", train)
    manifest = formatted_split(data, "train")
    assert read_split(manifest, "train") == [
        {"id": f"train_{n}", "prompt": f"Sum up:\nDialogue {n} with {{braces}}\nNow.", "completion": f"s{n}{k}"}
        for n in (1, 2)
        for k in (1, 2, 3)
    ]
    assert manifest.rows == 6
    assert len(read_split(manifest, "validation")) == 4
    evaluation = formatted_split(data, "eval")
    first = read_csv(data / "test.csv")[0]["dialogue"]
    assert read_split(evaluation, "prompts")[0] == {"id": "test_0", "prompt": f"Sum up:\n{first}\nNow."}
    assert evaluation.rows == len(read_split(evaluation, "prompts")) == 4
    validation = read_split(formatted_split(data, "validation"), "prompts")
    dialogues = [row["dialogue"] for row in read_csv(data / "validation.csv")]
    assert [row["prompt"] for row in validation] == [f"Sum up:\n{dialogue}\nNow." for dialogue in dialogues]


def test_dialogues_in_both_train_and_test_are_refused_unless_allowed(data: Path) -> None:
    """Case and spaces do not make another dialogue; where overlap is allowed it is counted and all rows are kept."""
    rows, test = read_csv(data / "train.csv"), read_csv(data / "test.csv")
    rows[3]["dialogue"] = test[3]["dialogue"].upper().replace(" ", "  ")
    write_csv(data / "train.csv", rows)
    with pytest.raises(RequestError, match=r"1 of 4 test dialogues .*'test_1'.*allow_overlap"):
        formatted_split(data, "train")
    allowed = formatted_split(data, "train", allow_overlap=True)
    assert (allowed.rows, allowed.facts["in_train_and_test"]) == (12, 1)
    assert formatted_split(data, "eval").rows == 4

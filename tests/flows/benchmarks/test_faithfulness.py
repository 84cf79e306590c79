"""bench faithfulness on a few labelled summaries, counted by hand."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from artifacts.errors import RequestError
from flows.benchmarks.faithfulness import agreement_rows, agreements, bench_faithfulness
from flows.benchmarks.faithfulness_data import dialogsum, samsum
from flows.benchmarks.faithfulness_measures import Measure, all_measures, copied
from flows.benchmarks.support_measures import (
    least_supported_sentence,
    sentences,
    utterances_drawn_on,
    words_not_in_dialogue,
    words_of_other_speakers,
    words_outside_best_utterance,
)
from flows.cli.main import app
from flows.judge_agreement import agreement_of
from flows.judge_settings import resolve_judge
from flows.recipe import load_recipe
from tests.support.judges import Reply, judge_server, tiny_classifier

DIALOGUE = "Amy: The red car costs thirty dollars.\nBen: I buy bread and milk at the market."


def write(file: Path, rows: list[dict[str, Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8", newline="") as lines:
        table = csv.DictWriter(lines, rows[0].keys())
        table.writeheader()
        table.writerows(rows)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two dialogues of SAMSum with two systems, two of DialogSum; the longer summary is the wrong one."""
    write(
        tmp_path / "samsum_outputs.csv",
        [
            {"dialogue_id": f"{i}", "system": system, "dialogue": DIALOGUE, "summary": summary}
            | {"error": error, "types": types}
            for i in range(2)
            for system, summary, error, types in (
                ("human_ref", "Ben buys milk.", "0", ""),
                ("a", f"Ben buys bread {i}.", "0", ""),
                ("b", f"Amy buys bread and milk at the market {i}.", "1", "SubObjE"),
            )
        ],
    )
    write(
        tmp_path / "dialogsum_outputs.csv",
        [
            {"dialogue_id": f"test_{i}", "system": "a", "summary": "Ben buys milk.", "corrected": "x"}
            | {"error": f"{i}", "types": "ObjE" if i else ""}
            for i in range(2)
        ],
    )
    rows = [
        {"id": f"test_{i}_{k}", "dialogue": DIALOGUE, "summary": f"Ben buys {k}", "topic": "x"}
        for i in range(2)
        for k in (1, 2)
    ]
    write(tmp_path / "dialogsum" / "test.csv", rows)
    return tmp_path


def test_human_references_are_what_rouge_compares_with(folder: Path) -> None:
    data = samsum(folder)
    assert len(data.summaries) == 4
    assert data.references == [["Ben buys milk."]] * 4
    assert list(data.errors) == [0, 1, 0, 1]
    assert list(data.dialogue_index) == [0, 0, 1, 1]
    assert list(data.of_type("SubObjE")) == [True] * 4
    assert list(data.of_type("ProE")) == [True, False, True, False]


def test_dialogues_and_references_of_dialogsum_come_from_its_test_split(folder: Path) -> None:
    data = dialogsum(folder, folder / "dialogsum")
    assert data.dialogues == [DIALOGUE] * 2
    assert data.references == [["Ben buys 1", "Ben buys 2"]] * 2


@pytest.mark.parametrize(
    ("function", "summary", "expected"),
    [
        (words_not_in_dialogue, "Ben buys green bread.", 1),  # green
        (words_outside_best_utterance, "Ben buys a red car. Amy sells bread.", 2 + 2),  # buy, Ben; Amy, sell
        (utterances_drawn_on, "Ben buys a red car. Ben buys milk.", 2 + 1),
        (words_of_other_speakers, "Amy buys bread and milk, and Ben buys bread.", 2),  # Ben said buy, bread
        (least_supported_sentence, "Ben buys milk. Zoe sings.", 0),
        (least_supported_sentence, "", 1),
    ],
)
def test_support_is_counted_in_stemmed_content_words(function: Any, summary: str, expected: float) -> None:
    assert function(summary, DIALOGUE) == expected


def test_copied_ngrams_and_sentences() -> None:
    assert copied("I buy green bread", "I buy bread", 1) == 0.75
    assert copied("I buy green bread", "I buy bread", 2) == pytest.approx(1 / 3)
    assert copied("I", "you", 2) == 1
    assert sentences("Ben buys milk. It is. Amy too.") == ["Ben buys milk.", "Amy too."]


def test_a_measure_in_the_right_direction_agrees_with_the_labels(folder: Path) -> None:
    """The wrong summaries are the longer ones and share fewer words with the reference."""
    data = samsum(folder)
    found = {each.measure.name: each for each in agreements(data, all_measures(data), resamples=50)}
    for name in ("words", "ROUGE-L precision", "words that another speaker said"):
        assert (found[name].auroc, found[name].within) == (1, 1)
    assert found["words of the dialogue"].auroc == 0.5
    assert found["numbers not in the dialogue"].auroc == 0.5  # 0 and 1 say little
    assert found["words of the dialogue"].over_length == (-0.5, -0.5)
    rows = {row["measure"]: row for row in agreement_rows(data, list(found.values()))}
    assert rows["words"]["faithful if"] == "lower"
    assert rows["words"]["minus length"] == "-"
    assert sum(row["minus best ROUGE"] == "-" for row in rows.values()) == 1
    assert rows["words"]["AUROC"] == "1.000 (1.000 to 1.000)"


def test_oriented_values_are_higher_for_faithful_summaries() -> None:
    values = np.asarray([1.0, 2.0])
    assert list(Measure("x", False, values).oriented) == [-1, -2]


def test_dialogsum_is_opened_only_at_the_end(folder: Path) -> None:
    rows, remark = bench_faithfulness(folder, None, final=False)
    assert {row["data"] for row in rows} == {"SAMSum"}
    assert "SAMSum only" in remark
    rows, remark = bench_faithfulness(folder, folder / "dialogsum", final=True)
    assert {row["data"] for row in rows} == {"SAMSum", "DialogSum"}
    assert "SAMSum only" not in remark
    with pytest.raises(RequestError, match="--final needs --dialogsum"):
        bench_faithfulness(folder, None, final=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.unlink(), "--data: no file samsum_outputs.csv"),
        (lambda file: file.write_text("a,b\n1,2\n"), "samsum_outputs.csv has no column dialogue_id"),
        (lambda file: file.write_text(file.read_text().replace(",1,SubObjE", ",0,")), "`error` 0 and with `error` 1"),
        (lambda file: file.write_text(file.read_text().replace("human_ref", "c")), "no row of human_ref"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(folder: Path, damage: Any, message: str) -> None:
    damage(folder / "samsum_outputs.csv")
    with pytest.raises(RequestError, match=message):
        bench_faithfulness(folder, None, final=False)


@pytest.mark.usefixtures("workers_inline", "store")
def test_a_classifier_is_measured_and_its_agreement_is_kept_for_reports(
    folder: Path, tmp_path: Path, models: dict[str, Path]
) -> None:
    """By the command: a recipe with the same judge finds it."""
    judge = tiny_classifier(tmp_path / "judge", models["llama"])
    arguments = ["bench", "faithfulness", "--data", str(folder), "--judge", str(judge), "--set", "runtime.device=cpu"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    rows = {row["measure"]: row for row in json.loads(result.stdout)["rows"]}
    assert {"judge judge", "judge judge, lowest sentence"} <= rows.keys()
    spec = resolve_judge(load_recipe("quickstart", [f"judge.model={judge}"]).judge)
    assert spec is not None
    kept = agreement_of(spec)
    assert kept is not None
    assert (kept.data, kept.summaries) == ("SAMSum", 4)
    assert rows["judge judge"]["AUROC"].startswith(f"{kept.auroc:.3f} ")


@pytest.mark.usefixtures("store")
def test_an_endpoint_is_measured_and_not_asked_again(folder: Path) -> None:
    """It calls what names Amy as buyer wrong: an AUROC of 1."""

    def reply(number: int, prompt: str) -> Reply:
        return Reply(text=json.dumps({"score": 10 if "Amy buys" in prompt else 90}))

    with judge_server(reply) as server:
        recipe = load_recipe("quickstart", [f"judge.endpoint={server.url}", "judge.name=x"])
        for _ in range(2):
            rows, _ = bench_faithfulness(folder, None, final=False, recipe=recipe)
            assert rows[-1]["measure"] == "judge x"
            assert rows[-1]["AUROC"] == "1.000 (1.000 to 1.000)"
        assert len(server.requests) == 4


@pytest.mark.usefixtures("store")
def test_a_recipe_without_a_judge_is_refused(folder: Path) -> None:
    with pytest.raises(RequestError, match="there is no judge"):
        bench_faithfulness(folder, None, final=False, recipe=load_recipe("quickstart"))

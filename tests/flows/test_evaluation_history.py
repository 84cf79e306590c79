"""history and seeds: what earlier evaluations found, and how much chance there is, on answers that are known."""

import io
import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
from rich.console import Console

from artifacts.artifact_store import Store
from artifacts.champions import Champions
from artifacts.errors import RequestError
from flows.cli import results_table
from flows.cli.comparison import compare
from flows.cli.history import show_history
from flows.evaluation_history import evaluations, uses_of_test_split
from tests.support.data import tiny_data
from tests.support.pipelines import (
    SUMMARY,
    adapter_id,
    expected_f1,
    flow_caller,
    patch_known_summaries,
    patch_workers_inline,
    stage_entry,
    stages_run,
)

WORDS = [5, 6, 5, 3]
"""Words, of ten, in the summaries of each evaluation below: rank 1, rank 2, rank 1 trained otherwise, base only."""


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory, models: dict[str, Path], prefect_server: None) -> Any:
    """(folder, what `run --json` prints of each): promoted; promoted, two seeds; rejected; the base model alone."""
    folder = tmp_path_factory.mktemp("past")
    tiny_data(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIALOGSUM_STORE", str(folder / "store"))
        patch_workers_inline(patch)
        patch_known_summaries(patch, folder / "data")
        run = flow_caller(models["llama"], folder / "data")
        summaries = [
            run("retrain", 1),
            run("retrain", 2, "seeds=2"),
            run("retrain", 1, "train.learning_rate=3e-3"),
            run("evaluate", 1, adapter="none"),
        ]
    assert [summary.get("decision", {}).get("state") for summary in summaries] == [
        "promoted",
        "promoted",
        "rejected",
        None,
    ]
    return folder, summaries


@pytest.fixture
def again(past: Any, tmp_path: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Flows in a copy of that store."""
    folder, _ = past
    shutil.copytree(folder / "store", tmp_path / "store")
    shutil.copytree(folder / "data", tmp_path / "data")
    patch_workers_inline(monkeypatch)
    patch_known_summaries(monkeypatch, tmp_path / "data")
    return flow_caller(models["llama"], tmp_path / "data")


def base_of(past: Any) -> str:
    train = Store.current().by_id(adapter_id(past[1][0]))
    return str(train.identity["config"]["model"]["revision"])


def history_of(past: Any, capsys: pytest.CaptureFixture[str], as_json: bool = True, plot: Path | None = None) -> Any:
    capsys.readouterr()
    show_history(base_of(past), as_json, plot)
    out = capsys.readouterr().out
    return json.loads(out) if as_json else out


@pytest.mark.slow
@pytest.mark.usefixtures("again")
def test_every_evaluation_is_listed_oldest_first_with_interval_and_decision(past: Any, capsys: Any) -> None:
    """Four evaluations; the champion's scores inside another one and the second seed's are none of their own."""
    listing = history_of(past, capsys)
    rows = listing["evaluations"]
    assert [row["scores"] for row in rows] == [stage_entry(run, "score")["artifact"] for run in past[1]]
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    assert [row["adapter"] for row in rows] == [*(adapter_id(run) for run in past[1][:3]), None]
    assert [row["decision"] for row in rows] == ["promoted", "promoted", "rejected", None]
    for row, words in zip(rows, WORDS, strict=True):
        assert row["interval"] == pytest.approx([expected_f1(words)] * 2, abs=1e-3)  # all dialogues score the same
        assert row["headline"]["tuned" if row["adapter"] else "base"] == pytest.approx(expected_f1(words), abs=1e-3)
        assert row["recipe"].startswith("smollm2-135m ")
    assert [row["headline"].get("champion") for row in rows] == pytest.approx(
        [None, expected_f1(5), expected_f1(6), None], abs=1e-3
    )
    log = [(change["action"], change["champion"]["adapter"], change["scores"]) for change in listing["champions"]]
    assert log == [("promoted", row["adapter"], row["scores"]) for row in rows[:2]]
    assert len(Store.current().manifests("score")) == 5


@pytest.mark.slow
def test_the_uses_of_the_test_split_are_counted_once_per_adapter_prompt_and_decoding(
    past: Any, again: Any, capsys: Any
) -> None:
    """Three runs, a second seed and the base model alone; what is scored again is no further use."""
    (use,) = history_of(past, capsys)["test_split"]
    assert (use["recipe"], use["settings"], use["adapters"]) == ("smollm2-135m", 5, 4)
    assert use["first"] <= use["last"]
    assert "smollm2-135m: 5 settings (4 adapters) scored on the test split" in history_of(past, capsys, as_json=False)
    again("retrain", 1)
    again("evaluate", 1, "score.bootstrap_resamples=99", adapter=adapter_id(past[1][0]))
    assert [each.settings for each in uses_of_test_split(base_of(past))] == [5]
    # with two beams, the patched model writes the same summaries, which are scored already
    for override, settings in (("generate.beams=2", 5), ("generate.limit=2", 5), ('evaluation.prompt="brief"', 6)):
        again("evaluate", 1, override, adapter=adapter_id(past[1][0]))
        assert [each.settings for each in uses_of_test_split(base_of(past))] == [settings]
    assert uses_of_test_split("f" * 64) == []


@pytest.mark.slow
@pytest.mark.usefixtures("again")
def test_the_table_says_the_same_and_who_is_champion(past: Any, capsys: Any) -> None:
    """One line per evaluation, in order, with scores and decision; then the champion and the adapter rolled back."""
    one, two, three, _ = past[1]
    lines = history_of(past, capsys, as_json=False).splitlines()
    expected = zip(
        [adapter_id(one), adapter_id(two), adapter_id(three), "none"],
        WORDS,
        ["promoted", "promoted", "rejected", "-"],
        strict=True,
    )
    for line, (name, words, decision) in zip(lines[1:5], expected, strict=True):
        assert name in line
        assert f"{expected_f1(words):.2f}" in line
        assert line.split()[-1] == decision
        assert line.count("●") == 1
    notes = [line for line in lines[5:] if ": with " not in line and "scored on the test split" not in line]
    assert notes == [f"champion: {adapter_id(two)}"]
    change = Champions(Store.current(), base_of(past))
    change.roll_back("by hand")
    lines = history_of(past, capsys, as_json=False).splitlines()
    assert lines[5] == f"champion: {adapter_id(one)}"
    assert lines[6].startswith(f"rolled back: {adapter_id(two)}, 20")
    withdrawn = change.stack[-1]
    assert Champions(Store.current(), base_of(past)).promote(withdrawn[0], withdrawn[1] or "", "by hand")
    lines = history_of(past, capsys, as_json=False).splitlines()
    assert lines[5] == f"champion: {adapter_id(two)}"
    assert lines[6].startswith(f"rolled back: {adapter_id(two)}, 20")
    assert "; promoted again 20" in lines[6]


@pytest.mark.slow
def test_the_table_names_prompt_dialogues_and_overrides_and_marks_a_part(past: Any, again: Any, capsys: Any) -> None:
    """A prompt of the library is named, any other shows its first words; a partial test set is marked as partial."""
    again("evaluate", 1, 'evaluation.prompt="brief"', adapter=adapter_id(past[1][0]))
    again("evaluate", 1, "generate.limit=2", adapter=adapter_id(past[1][0]))
    rows = history_of(past, capsys)["evaluations"]
    assert [(row["prompt"], row["rows"], row["rows_in_split"]) for row in rows] == [
        *[("highlight", 4, 4)] * 4,
        ("brief", 4, 4),
        ("highlight", 2, 4),
    ]
    assert all("train.max_steps=2" in row["overrides"] and "runtime" not in row["overrides"] for row in rows)
    assert "generate.limit=2" in rows[5]["overrides"]
    head, *lines = history_of(past, capsys, as_json=False).splitlines()
    assert {"prompt", "dialogues"} <= set(head.split())
    assert [("highlight" in line, "brief" in line, " 2 of 4*" in line) for line in lines[:6]] == [
        *[(True, False, False)] * 4,
        (False, True, False),
        (True, False, True),
    ]
    (mark,) = [line for line in lines if line.startswith("*")]
    assert "part of the test dialogues" in mark
    revision = rows[5]["recipe"]
    (legend,) = [line for line in lines if line.startswith(f"{revision}: with ")]
    assert "generate.limit=2" in legend


@pytest.mark.slow
def test_two_texts_with_one_name_are_distinguished_by_their_ids(
    past: Any, again: Any, capsys: Any, monkeypatch: Any
) -> None:
    """A file of the library that was edited between two evaluations: the table names the filled prompts."""
    import flows.labels

    monkeypatch.setattr(flows.labels, "prompt_label", lambda template: "mine")
    monkeypatch.setattr("flows.pipeline.prompt_label", lambda template: "mine")
    monkeypatch.setattr("flows.runner.prompt_label", lambda template: "mine")
    for text in ("Say it. {dialogue}", "Say it well. {dialogue}"):
        again("evaluate", 1, f"evaluation.prompt={json.dumps(text)}", adapter=adapter_id(past[1][0]))
    mine = [row for row in history_of(past, capsys)["evaluations"] if row["prompt"] == "mine"]
    assert len({row["prompts"] for row in mine}) == 2
    table = history_of(past, capsys, as_json=False)
    assert all(f"mine ({row['prompts']})" in table for row in mine)


@pytest.mark.slow
@pytest.mark.usefixtures("again")
def test_the_plot_is_an_svg_with_a_mark_for_every_evaluation(past: Any, capsys: Any, tmp_path: Path) -> None:
    """It parses as XML and needs no page: no CSS variable is left in it."""
    file = tmp_path / "moved.svg"
    assert history_of(past, capsys, plot=file) == history_of(past, capsys)
    root = ET.parse(file).getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(--" not in file.read_text(encoding="utf-8")
    texts = " ".join("".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text"))
    assert "ROUGE-1" in texts
    rows = history_of(past, capsys)["evaluations"]
    for row in rows:
        assert row["at"][:10] in texts.split()
        assert (row["adapter"] or "train-model").removeprefix("train-") in texts.split()
    with pytest.raises(RequestError, match=r"--plot .* cannot be written"):
        history_of(past, capsys, plot=tmp_path / "nowhere" / "x.svg")


def test_without_evaluations_there_is_one_line_and_an_empty_list(capsys: Any, tmp_path: Path, store: Store) -> None:
    """Also of another base model than the one that was evaluated; the plot is drawn all the same."""
    show_history("f" * 64, False, None)
    assert capsys.readouterr().out.startswith("no evaluations of this base model yet")
    show_history("f" * 64, True, tmp_path / "empty.svg")
    assert json.loads(capsys.readouterr().out) == {"evaluations": [], "champions": [], "test_split": []}
    ET.parse(tmp_path / "empty.svg")


def shown_history(summary: dict[str, Any]) -> str:
    page = Path(summary["report"]).read_text(encoding="utf-8")
    return page.split('id="history"')[1].split("</section>")[0] if 'id="history"' in page else ""


@pytest.mark.slow
def test_the_report_of_a_later_run_shows_the_earlier_ones(past: Any) -> None:
    """In order, with figures and decision; none of those that came after, nor itself."""
    reports = [shown_history(run) for run in past[1]]
    names = [adapter_id(run) for run in past[1][:3]]
    assert [[name for name in names if name in report] for report in reports] == [[], names[:1], names[:2], names]
    last = reports[-1]
    assert sorted(names, key=last.index) == names
    assert [f"{expected_f1(words):.2f}" in last for words in WORDS[:3]] == [True] * 3
    assert (last.count(">promoted<"), last.count(">rejected<")) == (2, 1)


@pytest.mark.slow
def test_a_later_evaluation_changes_no_earlier_report(past: Any, again: Any) -> None:
    """With four evaluations and two champions in the store, each of the runs given again reuses every stage."""
    assert stages_run(again("retrain", 2, "seeds=2")) == []
    assert stages_run(again("evaluate", 1, adapter="none")) == []
    assert stages_run(again("retrain", 1, "train.learning_rate=3e-3")) == []


@pytest.mark.slow
def test_each_seed_has_its_own_artifact_and_the_spread_is_reported(past: Any, again: Any) -> None:
    """A third seed leaves two as they are; JSON and report have each one's score, mean and standard deviation."""
    two = past[1][1]
    three = again("retrain", 2, "seeds=3")
    assert stages_run(three) == ["train seed 2", "generate seed 2", "score seed 2", "report"]
    for stage in ("train", "generate", "score"):
        assert stage_entry(three, stage, "seed 1")["artifact"] == stage_entry(two, stage, "seed 1")["artifact"]
    adapters = {stage_entry(three, "train", variant)["artifact"] for variant in (None, "seed 1", "seed 2")}
    assert len(adapters) == 3
    assert three["decision"] == two["decision"]  # the first seed is the candidate
    expected = [expected_f1(6), expected_f1(7), expected_f1(8)]
    assert [seed["rouge1"] for seed in three["seeds"]] == pytest.approx(expected, abs=1e-3)
    assert "seeds" not in past[1][0]
    page = Path(three["report"]).read_text(encoding="utf-8").split("Training seeds</h3>")[1].split("</table>")[0]
    assert f"{fmean(expected):.2f} ± {stdev(expected):.2f}" in page
    assert [f">{value:.2f}<" in page for value in expected] == [True] * 3
    assert stages_run(again("retrain", 2, "seeds=3")) == []
    assert stages_run(again("retrain", 2)) == ["report"]  # one without the other seeds


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server", "workers_inline")
def test_a_further_seed_that_becomes_the_candidate_is_an_evaluation(
    models: dict[str, Path], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its scores exist already without an evaluation; once it has a decision of its own, the history lists it."""
    patch_known_summaries(monkeypatch, data)
    run = flow_caller(models["llama"], data)
    both = run("retrain", 1, "seeds=2", "gate.automatic=false")
    base = str(Store.current().by_id(adapter_id(both)).identity["config"]["model"]["revision"])
    assert [row.adapter for row in evaluations(base)] == [adapter_id(both)]
    single = run("retrain", 1, "train.seed=1", "gate.automatic=false")
    assert (stages_run(single), adapter_id(single)) == (
        ["promote", "report"],
        stage_entry(both, "train", "seed 1")["artifact"],
    )
    assert {row.adapter for row in evaluations(base)} == {adapter_id(both), adapter_id(single)}
    assert stages_run(run("retrain", 1, "train.seed=1", "gate.automatic=false")) == []


@pytest.mark.slow
@pytest.mark.usefixtures("again")
def test_the_table_of_results_has_a_line_a_system_with_its_interval(past: Any, tmp_path: Path) -> None:
    """Three tuned models and the base model, which all share; only the place between the marks of a file changes."""
    table = results_table.markdown_table([])
    assert table.count("| 4 x 3 references | highlight |") == 4
    assert "with `model.source=" in table
    lines = [line for line in table.splitlines() if line.startswith("| llama") or "greedy |" in line]
    assert len(lines) == 4
    assert sum("tuned, greedy" in line for line in lines) == 3
    for words in set(WORDS):
        f1 = expected_f1(words)
        shown = f"{f1:.2f} ({f1:.1f} to {f1:.1f})"  # all dialogues have the same score
        assert any(shown in line for line in lines), shown
    first = stage_entry(past[1][0], "score")["artifact"]
    assert results_table.markdown_table([first]).count("tuned, greedy") == 1

    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{results_table.BEGIN}\nold\n{results_table.END}\nafter\n")
    results_table.replace_block(readme, results_table.BEGIN, results_table.END, table)
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert table in text
    (tmp_path / "other.md").write_text("no marks")
    with pytest.raises(RequestError, match="are missing"):
        results_table.replace_block(tmp_path / "other.md", results_table.BEGIN, results_table.END, table)


@pytest.mark.slow
@pytest.mark.usefixtures("again")
def test_promote_prints_the_dialogues_that_moved_with_both_summaries(past: Any) -> None:
    """The second adapter also writes the sixth word: three example dialogues improve by the same number of points."""
    output = io.StringIO()
    compare(stage_entry(past[1][1], "score")["artifact"], Console(file=output, width=200))
    table, *lines = output.getvalue().split("improved ")
    assert "champion" in table
    assert "regressed" not in output.getvalue()
    assert len(lines) == 3
    words = SUMMARY.split()
    for line in lines:
        assert line.startswith(f"{expected_f1(6) - expected_f1(5):+.0f}  test_")
        assert f"champion: {' '.join(words[:5])}\n" in line
        assert f": {' '.join(words[:6])}\n" in line


@pytest.mark.slow
def test_the_table_of_results_keeps_scores_of_different_tokenizers_apart(
    store: Store, models: dict[str, Path], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same summaries in two rows, each with its tokenizer; both are named below the table."""
    patch_known_summaries(monkeypatch, data)
    run = flow_caller(models["llama"], data)
    for tokenizer in ("auto", "characters"):
        run("retrain", 1, "gate.automatic=false", f"score.tokenizer={tokenizer}")
    table = results_table.markdown_table([])
    tuned = [line for line in table.splitlines() if "tuned, greedy" in line]
    assert ["tokenizer auto (ascii) |" in line for line in tuned] == [True, False]
    assert ["tokenizer characters |" in line for line in tuned] == [False, True]
    assert "rouge-score 0.1.2, tokenizer auto (ascii) or mean of references" in table

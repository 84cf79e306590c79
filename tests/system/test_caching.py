"""Only the key decides: which stages run again after which change, over the real flow with a tiny random model."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts import code_fingerprint
from artifacts.artifact_store import Store
from tests.support.data import tiny_data
from tests.support.paths import ROOT
from tests.support.pipelines import patch_workers_inline, small_overrides

JUDGE = ["score", "promote", "report"]
ALL = ["download", "format train", "format eval", "train", "generate base", "generate tuned", *JUDGE]
Change = Callable[[Path, list[str]], list[str] | None]
"""`change(folder of the test, overrides) -> further overrides`; it may alter data, code or store."""


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory, models: Any, prefect_server: None) -> Path:
    """A folder with data, a copy of the code that keys are made from, and the store of one finished run."""
    folder = tmp_path_factory.mktemp("first")
    tiny_data(folder / "data")
    (folder / "prompt.txt").write_text("Summarize.\n\n{dialogue}\n")
    for package in code_fingerprint.PACKAGES:
        shutil.copytree(
            ROOT / package, folder / "code" / package, ignore=shutil.ignore_patterns("store", "sample", "__pycache__")
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIALOGSUM_STORE", str(folder / "store"))
        patch.setattr(code_fingerprint, "ROOT", folder / "code")
        patch_workers_inline(patch)
        ran = retrain(overrides(folder, models))
    assert statuses(ran) == dict.fromkeys(ALL, "run")
    return folder


@pytest.fixture
def rerun(
    first_run: Path, tmp_path: Path, models: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """`rerun(change)`: run again in a copy of that folder after a change. Store and data so lie at another path."""
    folder = tmp_path / "again"
    shutil.copytree(first_run, folder)
    monkeypatch.setenv("DIALOGSUM_STORE", str(folder / "store"))
    monkeypatch.setattr(code_fingerprint, "ROOT", folder / "code")
    patch_workers_inline(monkeypatch)

    def run(change: Change, **options: Any) -> dict[str, Any]:
        base = overrides(folder, models)
        wanted = [*base, *(change(folder, base) or [])]
        planned = plan(wanted, **options)
        return retrain(wanted, **options) | {"planned": planned}

    return run


def overrides(folder: Path, models: dict[str, Path]) -> list[str]:
    return small_overrides("smollm2-135m", models["llama"], folder / "data", f"prompt={folder / 'prompt.txt'}")


def retrain(settings: list[str], refresh: list[str] | None = None) -> dict[str, Any]:
    from flows.pipeline import retrain as flow

    summary: dict[str, Any] = flow(recipe="smollm2-135m", overrides=settings, refresh=refresh or [])
    return summary


def plan(settings: list[str], refresh: list[str] | None = None) -> dict[str, Any]:
    from flows import dag
    from flows.planner import Planner
    from flows.recipe import load_recipe

    planner = Planner(frozenset(refresh or []))
    dag.retrain(dag.set_up(load_recipe("smollm2-135m", settings)), planner.step)
    return {"stages": planner.stages}


def name(entry: dict[str, Any]) -> str:
    return " ".join(filter(None, [entry["stage"], entry["of"]]))


def statuses(summary: dict[str, Any]) -> dict[str, str]:
    return {name(entry): entry["status"] for entry in summary["stages"]}


def ran(summary: dict[str, Any]) -> list[str]:
    return [stage for stage, status in statuses(summary).items() if status == "run"]


def settings(*more: str) -> Change:
    return lambda folder, base: list(more)


def one_byte_of_the_dataset(folder: Path, base: list[str]) -> None:
    file = folder / "data" / "train.csv"
    text = file.read_text()
    at = text.index("#Person1#: ") + len("#Person1#: ")
    file.write_text(text[:at] + ("X" if text[at] != "X" else "Y") + text[at + 1 :])


def training_prompt(folder: Path, base: list[str]) -> list[str]:
    (folder / "other.txt").write_text("Write a summary.\n\n{dialogue}\n")
    return [f"prompt={folder / 'other.txt'}", f"evaluation.prompt={folder / 'prompt.txt'}"]


def evaluation_prompt(folder: Path, base: list[str]) -> list[str]:
    (folder / "other.txt").write_text("What happens here?\n\n{dialogue}\n")
    return [f"evaluation.prompt={folder / 'other.txt'}"]


def edited(module: str, old: str, new: str) -> Change:
    def change(folder: Path, base: list[str]) -> None:
        file = folder / "code" / module
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return change


AFTER_TRAIN = ["generate tuned", *JUDGE]
AFTER_GENERATE = ["generate base", "generate tuned", *JUDGE]
UNFORESEEN = {
    "helper of scoring": JUDGE, "helper of the gate": ["promote", "report"], "helper of generation": AFTER_GENERATE,
}  # fmt: skip
"""What is made again and comes out as it was stops there, which no plan can know."""
SECOND_SEED = ["train seed 1", "generate seed 1", "score seed 1"]
TABLE: list[tuple[str, Change, list[str]]] = [
    ("nothing", settings(), []),
    ("evaluation prompt", evaluation_prompt, ["format eval", *AFTER_GENERATE]),
    ("training prompt", training_prompt, ["format train", "train", *AFTER_TRAIN]),
    ("LoRA rank", settings("train.lora.rank=2"), ["train", *AFTER_TRAIN]),
    ("decoding setting", settings("generate.max_new_tokens=5"), AFTER_GENERATE),
    ("scorer setting", settings("score.bootstrap_seed=1"), JUDGE),
    ("gate setting", settings("gate.least_rows=4"), ["promote", "report"]),
    ("whether the gate acts by itself", settings("gate.automatic=false"), []),
    ("a second seed", settings("seeds=2"), [*SECOND_SEED, "report"]),
    ("report option", settings("report.examples=1"), ["report"]),
    ("generation batch size", settings("runtime.generate_batch_size=3"), []),
    ("training micro-batch", settings("runtime.train_batch_size=2"), []),
    ("device", settings("runtime.device=auto"), []),
    ("workers and threads", settings("runtime.workers=1", "runtime.threads=1", "runtime.gpus=0"), []),
    ("one byte of the dataset", one_byte_of_the_dataset, ALL),
    ("helper of scoring", edited("tasks/metrics/rouge.py", "scorer(reference, prediction)", "scorer(prediction, reference)"), ["score", "report"]),
    ("helper of the gate", edited("tasks/promote.py", "at most {100 * most:g} %", "at most {100 * most:.1f} %"), ["promote"]),
    ("helper of generation", edited("tasks/decoding/hf_generate.py", "do_sample=False", "do_sample=0"), ["generate base", "generate tuned"]),
    ("a comment", edited("tasks/metrics/rouge.py", "# as in rouge_score", "# just as in rouge_score"), []),
    ("a docstring", edited("tasks/training/worker.py", "Check, train, save.", "Check, then train and save."), []),
    ("the report's template", edited("tasks/reporting/report.html.j2", "examples\">Dialogues", "examples\">Examples"), ["report"]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "change", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_a_change_reruns_its_stages_and_no_others(rerun: Any, what: str, change: Change, expected: list[str]) -> None:
    """The stages that a change makes run are those of the table, and `plan` has said so before."""
    again = rerun(change)
    assert ran(again) == expected
    assert ran(again["planned"]) == UNFORESEEN.get(what, expected)


DAMAGES = [
    ("1_download", "deleted"), ("2_format", "truncated"), ("3_train", "flipped"), ("3_train", "deleted"),
    ("3_train", "truncated"), ("4_generate", "deleted"), ("5_score", "truncated"), ("6_report", "flipped"), ("7_promote", "emptied"),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "damage"), DAMAGES)
def test_a_damaged_payload_reruns_its_stage_alone_and_says_why(rerun: Any, stage: str, damage: str) -> None:
    """A hit counts only when the payload verifies; the stage comes out the same, so all after it is reused."""
    harmed: list[Path] = []

    def change(folder: Path, base: list[str]) -> None:
        file = sorted((folder / "store" / stage).glob("*/payload/*"))[0]
        content = file.read_bytes()
        harmed.append(file)
        if damage == "deleted":
            file.unlink()
        elif damage in ("truncated", "emptied"):
            file.write_bytes(content[:-1] if damage == "truncated" else b"")
        else:
            file.write_bytes(bytes([content[0] ^ 1]) + content[1:])

    again = rerun(change)
    (entry,) = [e for e in again["stages"] if e["status"] == "run"]
    assert entry["stage"] == stage.split("_")[1]
    assert harmed[0].name in entry["reason"]
    assert Path(entry["path"]) == harmed[0].parent.parent
    Store.current().verified("/".join(harmed[0].parts[-4:-2]))


def test_a_lost_result_record_of_prefect_costs_nothing(rerun: Any) -> None:
    """The artifact is the truth: without Prefect's record it is found in the store, not made again."""

    def change(folder: Path, base: list[str]) -> None:
        shutil.rmtree(folder / "store" / "results")

    assert ran(rerun(change)) == []


def test_refresh_runs_the_stage_although_nothing_changed(rerun: Any) -> None:
    """`--refresh score` scores again; the scores come out the same, so the report is reused."""
    again = rerun(settings(), refresh=["score"])
    assert ran(again) == ["score"]
    assert next(e for e in again["stages"] if e["stage"] == "score")["reason"] == "refresh was asked for"


def test_the_reason_names_the_input_with_its_old_and_new_value(rerun: Any) -> None:
    """A person reads what changed, not that something did."""
    again = rerun(settings("train.lora.rank=2"))
    assert "train.lora.rank: 4 -> 2" in next(e for e in again["stages"] if e["stage"] == "train")["reason"]


def test_reasons_of_another_prompt_are_short_and_name_artifacts_that_can_be_looked_up(rerun: Any) -> None:
    """In the plan as in the run: no digest, no JSON, at most 120 characters, and every id is one of the store."""
    again = rerun(evaluation_prompt)
    reasons = {name(entry): entry["reason"] for entry in again["stages"] if entry["status"] == "run"}
    planned = {name(entry): entry["reason"] for entry in again["planned"]["stages"] if entry["status"] == "run"}
    prompts = {name(entry): entry["artifact"] for entry in again["stages"]}["format eval"]
    assert (
        planned["format eval"] == reasons["format eval"] == 'prompt: "Summarize. {dialogue}" -> "What happens here?…"'
    )
    assert reasons["generate base"].endswith(f" -> {prompts})")
    assert planned["generate base"] == reasons["generate base"].replace(prompts, "to be made")
    for reason in (*reasons.values(), *planned.values()):
        assert len(reason) <= 120
        assert not re.search(r"[{}]|[0-9a-f]{9}", reason.replace("{dialogue}", ""))
        for artifact in re.findall(r"[a-z]+-[0-9a-f]{8}", reason):
            assert Store.current().by_id(artifact).id == artifact

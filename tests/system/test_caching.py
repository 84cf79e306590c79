"""Only the key decides: which stages run again after which change, over the real flow with a tiny random model."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts import code_fingerprint
from artifacts.artifact_store import Store
from flows.run_summary import RunSummary
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
        summary = retrain(overrides(folder, models))
    assert statuses(summary) == dict.fromkeys(ALL, "run")
    return folder


@pytest.fixture
def copied(first_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, in use: store and data lie at another path."""
    folder = tmp_path / "again"
    shutil.copytree(first_run, folder)
    monkeypatch.setenv("DIALOGSUM_STORE", str(folder / "store"))
    monkeypatch.setattr(code_fingerprint, "ROOT", folder / "code")
    return folder


@pytest.fixture
def rerun(copied: Path, models: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """`rerun(change)`: apply a change to that copy, plan and run again."""
    patch_workers_inline(monkeypatch)

    def run(change: Change, **options: Any) -> dict[str, Any]:
        base = overrides(copied, models)
        changed = [*base, *(change(copied, base) or [])]
        planned = plan(changed, **options)
        return retrain(changed, **options) | {"planned": planned}

    return run


def overrides(folder: Path, models: dict[str, Path]) -> list[str]:
    return small_overrides("smollm2-135m", models["llama"], folder / "data", f"prompt={folder / 'prompt.txt'}")


def retrain(settings: list[str], refresh: list[str] | None = None) -> dict[str, Any]:
    from flows.pipeline import retrain as flow

    summary: RunSummary = flow(recipe="smollm2-135m", overrides=settings, refresh=refresh or [])
    return summary.to_json()


def plan(settings: list[str], refresh: list[str] | None = None) -> dict[str, Any]:
    from flows import dag
    from flows.planner import Planner
    from flows.recipe import load_recipe

    planner = Planner(frozenset(refresh or []))
    dag.retrain(dag.resolve_recipe(load_recipe("smollm2-135m", settings)), planner.step)
    return {"stages": [entry.to_json() for entry in planner.entries]}


def name(entry: dict[str, Any]) -> str:
    return " ".join(filter(None, [entry["stage"], entry["of"]]))


def statuses(summary: dict[str, Any]) -> dict[str, str]:
    return {name(entry): entry["status"] for entry in summary["stages"]}


def stages_run(summary: dict[str, Any]) -> list[str]:
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
    "helper of scoring": JUDGE,
    "helper of the gate": ["promote", "report"],
    "helper of generation": AFTER_GENERATE,
}
"""Stages that the plan lists in vain: their input is made again and comes out unchanged, which no plan can know."""
SECOND_SEED = ["train seed 1", "generate seed 1", "score seed 1"]
THREADS = ("runtime.threads=2", "runtime.gpus=0")
REFACTORING = edited("tasks/metrics/rouge.py", "min(count, prediction[gram])", "min(prediction[gram], count)")
GATE_ROUNDING = edited("tasks/promote.py", "at most {100 * limit:g} %", "at most {100 * limit:.1f} %")
NO_SAMPLING = edited("tasks/decoding/hf_generate.py", "do_sample=False", "do_sample=0")
COMMENT = edited("tasks/metrics/rouge.py", "# takes 0.2 s to import", "# takes 0.3 s to import")
DOCSTRING = edited("tasks/training/worker.py", "Check, train, save.", "Check, then train and save.")
ERROR_TEXT = edited("tasks/training/guards.py", "no adapter was written;", "there is no adapter;")
CHECK_TEXT = edited("tasks/training/check_messages.py", "rows reach the trainer", "rows arrive at the trainer")
TEMPLATE = edited("tasks/reporting/report.html.j2", 'examples">Dialogues', 'examples">Examples')
TABLE: dict[str, tuple[Change, list[str]]] = {
    "nothing": (settings(), []),
    "evaluation prompt": (evaluation_prompt, ["format eval", *AFTER_GENERATE]),
    "training prompt": (training_prompt, ["format train", "train", *AFTER_TRAIN]),
    "LoRA rank": (settings("train.lora.rank=2"), ["train", *AFTER_TRAIN]),
    "decoding setting": (settings("generate.max_new_tokens=5"), AFTER_GENERATE),
    "scorer setting": (settings("score.bootstrap_seed=1"), JUDGE),
    "gate setting": (settings("gate.least_rows=4"), ["promote", "report"]),
    "whether the gate acts by itself": (settings("gate.automatic=false"), []),
    "a second seed": (settings("seeds=2"), [*SECOND_SEED, "report"]),
    "report option": (settings("report.examples=1"), ["report"]),
    "generation batch size": (settings("runtime.generate_batch_size=3"), []),
    "training micro-batch": (settings("runtime.train_batch_size=2"), []),
    "device": (settings("runtime.device=auto"), []),
    "workers and threads": (settings(*THREADS), []),
    "one byte of the dataset": (one_byte_of_the_dataset, ALL),
    "helper of scoring": (REFACTORING, ["score"]),
    "helper of the gate": (GATE_ROUNDING, ["promote"]),
    "helper of generation": (NO_SAMPLING, ["generate base", "generate tuned"]),
    "a comment": (COMMENT, []),
    "a docstring": (DOCSTRING, []),
    "an error's text": (ERROR_TEXT, []),
    "a check's text": (CHECK_TEXT, []),
    "the report's template": (TEMPLATE, ["report"]),
}
"""What changes, and the stages that then run."""
QUICK = {"nothing", "scorer setting", "workers and threads", "helper of the gate", "a docstring"}
"""Changes that `make test` runs; of all it checks the plan, and `make test-all` that the run keeps to it."""


@pytest.mark.parametrize("change", TABLE)
def test_the_plan_lists_the_stages_that_a_change_concerns(copied: Path, models: Any, change: str) -> None:
    """Those of the table, without running any."""
    alter, expected = TABLE[change]
    base = overrides(copied, models)
    assert stages_run(plan([*base, *(alter(copied, base) or [])])) == UNFORESEEN.get(change, expected)


@pytest.mark.parametrize("change", [pytest.param(c, marks=[] if c in QUICK else pytest.mark.slow) for c in TABLE])
def test_a_change_reruns_its_stages_and_no_others(rerun: Any, change: str) -> None:
    """The stages that run after a change are those of the table, and the plan listed them before."""
    alter, expected = TABLE[change]
    again = rerun(alter)
    assert stages_run(again) == expected
    assert stages_run(again["planned"]) == UNFORESEEN.get(change, expected)


DAMAGES = [
    ("1_download", "deleted"),
    ("2_format", "truncated"),
    ("3_train", "flipped"),
    ("3_train", "deleted"),
    ("3_train", "truncated"),
    ("4_generate", "deleted"),
    ("5_score", "truncated"),
    ("6_report", "flipped"),
    ("7_promote", "emptied"),
]


def damage(folder: Path, stage: str, how: str) -> Path:
    """Damage the first payload file of a stage, and return its path."""
    file = sorted((folder / "store" / stage).glob("*/payload/*"))[0]
    content = file.read_bytes()
    if how == "deleted":
        file.unlink()
    elif how in ("truncated", "emptied"):
        file.write_bytes(content[:-1] if how == "truncated" else b"")
    else:
        file.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    return file


@pytest.mark.parametrize(("stage", "how"), DAMAGES)
def test_the_plan_makes_a_damaged_payload_again_and_names_the_file(
    copied: Path, models: Any, stage: str, how: str
) -> None:
    file = damage(copied, stage, how)
    entries = [entry for entry in plan(overrides(copied, models))["stages"] if entry["status"] == "run"]
    assert entries[0]["stage"] == stage.split("_")[1]
    assert file.name in entries[0]["reason"]


@pytest.mark.parametrize(
    ("stage", "how"),
    [pytest.param(*d, marks=[] if d == ("7_promote", "emptied") else pytest.mark.slow) for d in DAMAGES],
)
def test_a_damaged_payload_reruns_its_stage_alone_and_names_the_file(rerun: Any, stage: str, how: str) -> None:
    """A hit counts only when the payload verifies; the stage comes out the same, so all after it is reused."""
    damaged: list[Path] = []

    def change(folder: Path, base: list[str]) -> None:
        damaged.append(damage(folder, stage, how))

    again = rerun(change)
    (entry,) = [entry for entry in again["stages"] if entry["status"] == "run"]
    assert entry["stage"] == stage.split("_")[1]
    assert damaged[0].name in entry["reason"]
    assert Path(entry["path"]) == damaged[0].parent.parent
    Store.current().verified("/".join(damaged[0].parts[-4:-2]))


def test_a_lost_result_record_of_prefect_costs_nothing(rerun: Any) -> None:
    """The artifact is the truth: without Prefect's record it is found in the store, not made again."""

    def change(folder: Path, base: list[str]) -> None:
        shutil.rmtree(folder / "store" / "results")

    assert stages_run(rerun(change)) == []


def test_refresh_runs_the_stage_although_nothing_changed(rerun: Any) -> None:
    """`--refresh score` scores again; the scores come out the same, so the report is reused."""
    again = rerun(settings(), refresh=["score"])
    assert stages_run(again) == ["score"]
    assert next(e for e in again["stages"] if e["stage"] == "score")["reason"] == "refresh was asked for"


def test_the_reason_names_the_input_with_its_old_and_new_value(copied: Path, models: Any) -> None:
    """A reader learns what changed, not only that something did."""
    planned = plan([*overrides(copied, models), "train.lora.rank=2"])
    assert "train.lora.rank: 4 -> 2" in next(e for e in planned["stages"] if e["stage"] == "train")["reason"]


@pytest.mark.slow
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

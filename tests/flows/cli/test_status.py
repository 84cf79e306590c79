"""`dialogsum` without a command shows status and next steps; help and completion are correct and load little."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from artifacts.manifest import InputRef, Provenance
from artifacts.retention import RunNotes
from flows.cli.status import status
from flows.sweeps.trials import Trial, TrialStore
from tasks.config import ResolvedModel, TrainConfig, TrainSpec
from tasks.execution.job import Job, save_job
from tests.support.models import publish_adapter
from tests.support.paths import ROOT
from tests.support.processes import run_cli

ANSWER = "{dialogue}"

MODEL = ResolvedModel(revision="0" * 64, location="/models/tiny", origin="tiny")
SPEC = TrainSpec(model=MODEL, turns="gemma", quantization="none", train=TrainConfig())


def suggested(text: str) -> list[str]:
    """The commands that a status suggests."""
    return [line.split("  ")[1].strip() for line in text.split("next:\n")[1].splitlines()]


def unfinished(run: str) -> Job:
    """A run of `article` that has recorded its training, as flows/pipeline.py does, and has not ended."""
    identity = {"stage": "train", "config": {}}
    job = Job(stage="train", variant=None, spec=SPEC, inputs={}, identity=identity, run=run, recipe="article 00000000")
    save_job(Store.current(), job)
    RunNotes(Store.current(), run).add(job.artifact)
    return job


@pytest.fixture
def adapter(store: Store, models: dict[str, Path], tmp_path: Path) -> str:
    return publish_adapter(store, models["llama"], tmp_path / "adapter", ANSWER)


def test_empty_store_leads_to_the_first_run() -> None:
    """Through the command line, on standard output."""
    process = run_cli()
    assert (process.returncode, process.stderr) == (0, "")
    assert suggested(process.stdout)[0] == "dialogsum run"
    assert "make run" in process.stdout


def test_a_failed_run_leads_to_the_command_that_resumes_it(store: Store) -> None:
    """With its recipe and the missing stage; no longer once it has finished."""
    unfinished("first")
    assert suggested(status())[:2] == ["dialogsum run article", "dialogsum doctor article"]
    assert "ended before train was finished" in status()
    RunNotes(Store.current(), "first").finish()
    assert suggested(status())[0] == "dialogsum run"


def test_a_run_in_progress_is_not_called_failed(store: Store) -> None:
    """A run that holds the lock of the missing artifact is alive."""
    job = unfinished("first")
    with store.lock("train", job.key):
        assert "in progress: train" in status()
        assert "ended before" not in status()
    assert "ended before" in status()


def test_an_interrupted_sweep_leads_to_the_command_that_goes_on(store: Store) -> None:
    """With its trial; between two trials without; a sweep that is at work is not called interrupted."""
    job = unfinished("first")
    trials = TrialStore(store, "1a2b3c4d")
    trials.save(Trial(number=7, parameters={}, run="first"))
    assert suggested(status())[0] == "dialogsum sweep article"
    assert "The last run, of trial 7 of a sweep of article, ended before train was finished." in status()
    with store.lock("train", job.key):
        assert "A run of trial 7 of a sweep of article is in progress: train." in status()
    trials.save(Trial(number=7, parameters={}, run="first", state="pruned"))
    save_job(store, job.model_copy(update={"variant": "trial"}))
    assert suggested(status())[0] == "dialogsum sweep article"


def test_champion_leads_to_summaries(store: Store, adapter: str) -> None:
    """Without a champion, `summarize` needs --adapter, and `export` is not suggested.

    The base model is a folder here: others can use the adapter only if it is merged into the model.
    """
    assert suggested(status())[0] == "dialogsum summarize FILE --adapter latest"
    assert "export" not in status()
    base = store.by_id(adapter).identity["config"]["model"]["revision"]
    Champions(Store.current(), base).promote(
        Champion(adapter=adapter, template=ANSWER, turns="chatml", generate={}), "score-00000000", "t"
    )
    assert f"{adapter} is champion" in status()
    assert suggested(status())[0] == "dialogsum summarize FILE"
    assert "dialogsum export FOLDER --merged" in suggested(status())


def test_champion_of_a_base_model_from_the_hub_leads_to_an_adapter(store: Store, tmp_path: Path) -> None:
    """Its revision is a commit: others can load the adapter alone."""
    identity = {"config": {"model": {"revision": "5" * 40}}}
    adapter = published(store, tmp_path / "adapter", "train", "efefefef", 1, {}, identity)
    champion = Champion(adapter=adapter, template=ANSWER, turns="chatml", generate={})
    Champions(Store.current(), "5" * 40).promote(champion, "score-00000000", "t")
    assert "dialogsum export FOLDER" in suggested(status())


def published(
    store: Store,
    out: Path,
    stage: str,
    key: str,
    day: int,
    facts: dict[str, Any],
    identity: dict[str, Any] | None = None,
    **inputs: str,
) -> str:
    """Id of an artifact whose payload is empty."""
    out.mkdir()
    (out / "report.html").write_text("")
    return store.publish(
        out,
        stage=stage,
        variant=None,
        name="test",
        key=key * 8,
        rows=1,
        identity=identity or {},
        facts=facts,
        inputs={role: InputRef(id=artifact, digest="0" * 64) for role, artifact in inputs.items()},
        provenance=Provenance(at=f"2026-01-0{day}T00:00:00", seconds=0, run="test"),
    ).id


def test_champion_stands_beside_its_own_report_and_a_rejected_adapter_is_named(
    store: Store, models: dict[str, Path], tmp_path: Path
) -> None:
    """Neither of the newest reports is the champion's own: one is of the rejected adapter, one of a rollback."""
    names, reports = [], []
    for number, (key, passed) in enumerate({"aaaaaaaa": True, "bbbbbbbb": False}.items(), 1):
        folder = tmp_path / key
        folder.mkdir()
        names.append(publish_adapter(store, models["llama"], folder / "train", ANSWER, key * 8))
        outputs = published(store, folder / "outputs", "generate", key, number, {}, adapter=names[-1])
        scores = published(store, folder / "scores", "score", key, number, {}, base=outputs, tuned=outputs)
        facts = {"passed": passed, "reasons": ["empty: 9.0 % (required: at most 1 %)"]}
        published(store, folder / "decision", "promote", key, number, facts, scores=scores)
        reports.append(published(store, folder / "report", "report", key, number, {}, scores=scores))
    base = store.by_id(names[0]).identity["config"]["model"]["revision"]
    champion = Champion(adapter=names[0], template=ANSWER, turns="chatml", generate={})
    Champions(Store.current(), base).promote(champion, "score-aaaaaaaa", "t")
    refused = published(
        store,
        tmp_path / "refused",
        "promote",
        "cccccccc",
        2,
        {"passed": False, "reasons": ["rolled back"]},
        scores="score-aaaaaaaa",
    )
    published(store, tmp_path / "late", "report", "cccccccc", 3, {}, scores="score-aaaaaaaa", decision=refused)
    paths = [f"  report: {store.absolute(store.by_id(report).path)}/payload/report.html" for report in reports]
    assert status().splitlines()[:4] == [
        f"{names[0]} is champion.",
        paths[0],
        f"{names[1]}, the newest adapter, was rejected: empty: 9.0 % (required: at most 1 %).",
        paths[1],
    ]
    Champions(Store.current(), base).roll_back("t")
    assert f"{names[0]} was rolled back on 20" in status()
    assert f"`dialogsum promote --adapter {names[0]}` reinstates it" in status()


@pytest.mark.slow
def test_every_suggested_command_exists(store: Store, adapter: str) -> None:
    """With its options."""
    unfinished("first")
    for command in suggested(status())[:-1]:
        words = command.replace("NAME", "brief").replace("FILE", "x.csv").replace("FOLDER", "x").split()[1:]
        assert run_cli(*words, "--help").returncode == 0, command


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("dialogsum summ", ["summarize"]),
        ("dialogsum run qui", ["quickstart"]),
        ("dialogsum evaluate --prompt key", ["key-points"]),
        ("dialogsum run --refresh gen", ["generate"]),
        ("dialogsum plan --set train.lora.ra", ["train.lora.rank="]),
        ("dialogsum summarize x --adapter train-", ["train-abababab"]),
        ("dialogsum show train-ab", ["train-abababab"]),
        ("dialogsum station st", ["status"]),
    ],
)
def test_bash_completes_commands_and_what_they_take(adapter: str, typed: str, offered: list[str]) -> None:
    """With the variables that bash sets: the words, and the index of the one being typed."""
    variables = {"_DIALOGSUM_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    process = run_cli(**variables)
    assert (process.stdout.split(), process.stderr) == (offered, "")


def test_help_loads_next_to_nothing() -> None:
    """No store, no recipe, no NumPy: the time of `--help` is that of its imports."""
    script = (
        "import sys; sys.argv = ['dialogsum', '--help']\n"
        "from flows.cli import main as cli\n"
        "try: cli.main()\n"
        "finally: print('LOADED', *sys.modules)"
    )
    process = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in process.stdout.split("LOADED")[1].split()}
    assert "typer" in loaded
    assert (
        loaded & {"pydantic", "yaml", "upath", "fsspec", "psutil", "pyarrow", "numpy", "pandas", "torch", "prefect"}
        == set()
    )

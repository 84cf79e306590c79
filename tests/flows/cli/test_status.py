"""First contact: `dialogsum` alone says how things stand and what to do next; help and completion are quick and true."""

import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from artifacts.manifest import InputRef, Made
from artifacts.retention import Uses
from flows.cli.status import status
from tasks.execution import sharding
from tasks.execution.stage import Job
from tests.support.models import publish_adapter
from tests.support.paths import ROOT
from tests.support.processes import run_cli

ANSWER = "{dialogue}"


def steps(said: str) -> list[str]:
    """The commands that are offered."""
    return [line.split("  ")[1].strip() for line in said.split("next:\n")[1].splitlines()]


def began(run: str) -> Job:
    """A run of `article` that has noted its training, as flows/pipeline.py does, and not ended."""
    identity = {"stage": "train", "config": {}}
    job = Job(stage="train", of=None, spec={}, inputs={}, identity=identity, run=run, recipe="article 00000000")
    sharding.keep(job)
    Uses(run).hold(job.artifact)
    return job


@pytest.fixture
def adapter(store: Store, models: dict[str, Path], tmp_path: Path) -> str:
    return publish_adapter(store, models["llama"], tmp_path / "made", ANSWER)


def test_empty_store_leads_to_the_first_run() -> None:
    """Through the command line, on standard output; nothing is made by looking."""
    done = run_cli()
    assert (done.returncode, done.stderr) == (0, "")
    assert steps(done.stdout)[0] == "dialogsum run"
    assert "make run" in done.stdout


def test_run_that_failed_leads_to_the_command_that_goes_on(store: Store) -> None:
    """With its recipe and the stage that is missing; no longer once it has ended well."""
    began("first")
    assert steps(status())[:2] == ["dialogsum run article", "dialogsum doctor article"]
    assert "ended before train was finished" in status()
    Uses("first").end()
    assert steps(status())[0] == "dialogsum run"


def test_run_at_work_is_not_called_failed(store: Store) -> None:
    """Who holds the lock on what is missing is alive."""
    job = began("first")
    with store.alone("train", job.key):
        assert "in progress: train" in status()
        assert "ended before" not in status()
    assert "ended before" in status()


def test_champion_leads_to_summaries(store: Store, adapter: str) -> None:
    """An adapter that is not champion has to be asked by name, and is not offered for export.

    The base model is a folder here: others have it only where it is merged in.
    """
    assert steps(status())[0] == "dialogsum summarize FILE --adapter latest"
    assert "export" not in status()
    base = store.by_id(adapter).identity["config"]["model"]["revision"]
    Champions(base).promote(
        Champion(adapter=adapter, template=ANSWER, turns="chatml", generate={}), "score-00000000", "t"
    )
    assert f"{adapter} is champion" in status()
    assert steps(status())[0] == "dialogsum summarize FILE"
    assert "dialogsum export FOLDER --merged" in steps(status())


def test_champion_of_a_base_model_from_the_hub_leads_to_an_adapter(store: Store, tmp_path: Path) -> None:
    """Its revision is a commit: the adapter alone is enough for others."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "adapter_config.json").write_text("{}")
    identity = {"config": {"model": {"revision": "5" * 40}}}
    made = Made(at="2026-01-01T00:00:00", seconds=0, run="test")
    adapter = store.publish(
        tmp_path / "made", stage="train", of=None, name="made", key="ef" * 32, rows=1, identity=identity, inputs={}, facts={}, made=made
    ).id  # fmt: skip
    champion = Champion(adapter=adapter, template=ANSWER, turns="chatml", generate={})
    Champions("5" * 40).promote(champion, "score-00000000", "t")
    assert "dialogsum export FOLDER" in steps(status())


def published(store: Store, out: Path, stage: str, key: str, at: int, facts: dict[str, object], **inputs: str) -> str:
    """An artifact with nothing in it but what it was made from."""
    out.mkdir()
    (out / "report.html").write_text("")
    return store.publish(
        out, stage=stage, of=None, name="made", key=key * 8, rows=1, identity={}, facts=facts,
        inputs={role: InputRef(id=artifact, digest="0" * 64) for role, artifact in inputs.items()},
        made=Made(at=f"2026-01-0{at}T00:00:00", seconds=0, run="test"),
    ).id  # fmt: skip


def test_champion_stands_beside_its_own_report_and_a_rejected_adapter_is_named(
    store: Store, models: dict[str, Path], tmp_path: Path
) -> None:
    """The newest reports are that of the rejected adapter and one of the champion while it was rolled back: neither is its own."""
    names, reports = [], []
    for number, (key, passed) in enumerate({"aaaaaaaa": True, "bbbbbbbb": False}.items(), 1):
        folder = tmp_path / key
        folder.mkdir()
        names.append(publish_adapter(store, models["llama"], folder / "train", ANSWER, key * 8))
        said = published(store, folder / "said", "generate", key, number, {}, adapter=names[-1])
        scores = published(store, folder / "scores", "score", key, number, {}, base=said, tuned=said)
        facts = {"passed": passed, "reasons": ["empty: 9.0 % (required: at most 1 %)"]}
        published(store, folder / "decision", "promote", key, number, facts, scores=scores)
        reports.append(published(store, folder / "report", "report", key, number, {}, scores=scores))
    base = store.by_id(names[0]).identity["config"]["model"]["revision"]
    judged = Champion(adapter=names[0], template=ANSWER, turns="chatml", generate={})
    Champions(base).promote(judged, "score-aaaaaaaa", "t")
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
        f"{names[0]} is champion.", paths[0],
        f"{names[1]}, the newest adapter, was rejected: empty: 9.0 % (required: at most 1 %).", paths[1],
    ]  # fmt: skip
    Champions(base).roll_back("t")
    assert f"{names[0]} was rolled back on 20" in status()
    assert f"`dialogsum promote --adapter {names[0]}` reinstates it" in status()


def test_every_command_that_is_offered_is_one(store: Store, adapter: str) -> None:
    """As typed, with its options, refused by no parser."""
    began("first")
    for offered in steps(status())[:-1]:
        words = offered.replace("NAME", "brief").replace("FILE", "x.csv").replace("FOLDER", "x").split()[1:]
        assert run_cli(*words, "--help").returncode == 0, offered


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
    """As bash asks: the words, and which of them is being typed."""
    asked = {"_DIALOGSUM_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    done = run_cli(**asked)
    assert (done.stdout.split(), done.stderr) == (offered, "")


def test_help_loads_next_to_nothing() -> None:
    """What `--help` costs is what it imports: no store, no recipe, no numbers."""
    script = "import sys; sys.argv = ['dialogsum', '--help']\nfrom flows.cli import main as cli\ntry: cli.main()\nfinally: print('LOADED', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split("LOADED")[1].split()}
    assert "typer" in loaded
    assert (
        loaded & {"pydantic", "yaml", "upath", "fsspec", "psutil", "pyarrow", "numpy", "pandas", "torch", "prefect"}
        == set()
    )

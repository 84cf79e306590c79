"""Row 10: two runs at once, in two processes on one store: both complete, and each stage is computed once.

tests/artifacts/test_champions.py has many processes that promote at once.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from tests.faults.fault_table import Tally
from tests.support.paths import ROOT
from tests.support.pipelines import set_options, small_overrides

TRIES = 2


def started(home: Path, overrides: list[str]) -> subprocess.Popen[str]:
    home.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", *set_options(overrides), "--json"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_HOME": str(home)},
    )


def ended(process: subprocess.Popen[str], lost: list[Any]) -> list[dict[str, Any]]:
    out, stderr = process.communicate(timeout=500)
    if process.returncode:
        lost.append((process.returncode, stderr[-600:]))
        return []
    stages: list[dict[str, Any]] = json.loads(out)["stages"]
    return stages


WALK = """
import json, sys
from tests.support.pipelines import DagWalker
walk = DagWalker()
walk.through(json.loads(sys.argv[1]))
print(json.dumps([[manifest.id, ran] for manifest, ran in walk.results]))
"""


@pytest.mark.slow
def test_two_processes_that_need_the_same_stages_compute_each_once(
    copied: Path, overrides: list[str], tally: Tally
) -> None:
    """Two processes run the same three missing stages of a store at once."""
    store, lost = Store.current(), list[Any]()
    command = [sys.executable, "-c", WALK, json.dumps([*overrides, "score.bootstrap_seed=7"])]
    both = [
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
        )
        for _ in range(2)
    ]
    outputs = [json.loads(process.communicate(timeout=200)[0]) for process in both]
    ran = Counter(name for output in outputs for name, did in output if did)
    if len(ran) != 3 or {*ran.values()} != {1} or [name for name, _ in outputs[0]] != [name for name, _ in outputs[1]]:
        lost.append(outputs)
    lost += [m.id for m in store.manifests() if not store.verified(m.path)]
    tally("10 two processes want the same stages at once", 3, lost)


@pytest.mark.faults
@pytest.mark.parametrize("homes", ["one machine", "separate homes"])
def test_two_identical_runs_at_once_compute_each_stage_once(
    models: dict[str, Path], data: Path, tmp_path: Path, tally: Tally, homes: str
) -> None:
    """Who comes second waits for the first and takes what it made; Prefect's database is shared or not."""
    overrides, lost, store = small_overrides("smollm2-135m", models["llama"], data), list[Any](), Store.current()
    for i in range(TRIES):
        both = [
            started(tmp_path / f"home{i}{n if homes != 'one machine' else ''}", [*overrides, f"train.seed={i}"])
            for n in "ab"
        ]
        stages = [ended(process, lost) for process in both]
        ran = Counter(e["artifact"] for entries in stages for e in entries if e["status"] == "run")
        artifacts = {e["artifact"] for entries in stages for e in entries}
        lost += [(name, count) for name, count in ran.items() if count != 1]
        lost += [m.id for m in store.manifests() if not store.verified(m.path)]
        if [e["artifact"] for e in stages[0]] != [e["artifact"] for e in stages[1]] or not artifacts:
            lost.append("the runs ended with other artifacts")
    tally(f"10 two identical runs at once, {homes}", TRIES, lost)


@pytest.mark.faults
def test_two_different_runs_at_once_share_what_is_the_same(
    models: dict[str, Path], data: Path, tmp_path: Path, tally: Tally
) -> None:
    """Two ranks: both complete; data, prompts and the base model's summaries are computed once."""
    overrides, lost, store = small_overrides("smollm2-135m", models["llama"], data), list[Any](), Store.current()
    for i in range(TRIES):
        both = [
            started(tmp_path / "home", [*overrides, f"train.lora.rank={rank}", f"train.seed={i}"]) for rank in (2, 4)
        ]
        stages = [ended(process, lost) for process in both]
        ran = Counter(e["artifact"] for entries in stages for e in entries if e["status"] == "run")
        lost += [(name, count) for name, count in ran.items() if count != 1]
        adapters = {e["artifact"] for entries in stages for e in entries if e["stage"] == "train"}
        lost += [m.id for m in store.manifests() if not store.verified(m.path)]
        if len(adapters) != 2:
            lost.append(("adapters", adapters))
    tally("10 two different runs at once", TRIES, lost)

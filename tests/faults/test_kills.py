"""Rows 1 to 3: kills at random moments of real runs, then the same command again, down to the bytes of what it makes.

Beside these: tests/test_training_loop.py kills the trainer in every step, twenty times by SIGTERM, and once as a real
process by SIGKILL and SIGTERM; tests/test_launch.py has workers end with their parent; tests/test_store.py (row 4) ends
`publish` at each system call; tests/test_generate.py has batches survive; tests/test_station.py cancels from the UI and
kills worker and run at once. DIALOGSUM_FAULTS=full: 30 kills and 20 terminations.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from artifacts.store import Store
from tests.conftest import ROOT, shrunk, tiny_data
from tests.faults.conftest import FULL, Tally, settings

pytestmark = pytest.mark.faults
STEPS = 40
STAGES = ("download", "format", "train", "generate", "score", "promote", "report")


class Runs:
    """`dialogsum run` in processes of its own, on one store after the other."""

    def __init__(self, folder: Path, wanted: list[str]) -> None:
        self.folder, self.wanted = folder, wanted
        self.undisturbed = self.digests(self.finish(self.start("undisturbed"), []), "undisturbed")

    def start(self, name: str) -> subprocess.Popen[str]:
        home = self.folder / "prefect" / name
        home.mkdir(parents=True, exist_ok=True)
        environment = {"DIALOGSUM_STORE": str(self.store(name)), "PREFECT_HOME": str(home), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "run", *settings(self.wanted), "--json"], cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, env=os.environ | environment,
        )  # fmt: skip

    def store(self, name: str) -> Path:
        return self.folder / "stores" / name

    def finish(self, process: subprocess.Popen[str], lost: list[Any]) -> list[dict[str, Any]]:
        out, said = process.communicate(timeout=500)
        if process.returncode:
            lost.append((process.returncode, said[-800:]))
            return []
        found: list[dict[str, Any]] = json.loads(out)["stages"]
        return found

    def digests(self, stages: list[dict[str, Any]], name: str) -> dict[str, str]:
        """Artifact -> digest of its bytes, but for the report, which names the run and its times."""
        store = Store(self.store(name))
        return {e["artifact"]: store.by_id(e["artifact"]).digest for e in stages if e["stage"] != "report"}

    def at_work(self, name: str, stage: str, process: subprocess.Popen[str]) -> bool:
        """Wait until a stage is at work, or was; False if the run ended before."""
        while process.poll() is None:
            place = self.store(name)
            if [*place.glob(f".scratch/{stage}-*/out"), *place.glob(f"[1-9]_{stage}/*/manifest.json")]:
                return True
            time.sleep(0.01)
        return False


@pytest.fixture(scope="module")
def runs(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("kills")
    data = tiny_data(folder / "data")
    return Runs(folder, [*shrunk("smollm2-135m", models["llama"], data), f"train.max_steps={STEPS}"])


def below(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


@pytest.fixture
def orphans() -> Iterator[Any]:
    """`orphans(processes) -> those that still run after a while`; ended when the test is over."""
    left: list[psutil.Process] = []

    def look(processes: list[psutil.Process], seconds: float = 15) -> list[str]:
        _, alive = psutil.wait_procs(processes, timeout=seconds)
        left.extend(alive)
        return [" ".join(process.cmdline()) for process in alive if process.is_running()]

    yield look
    for process in left:
        if process.is_running():
            process.kill()


@pytest.mark.parametrize("attempt", range(30 if FULL else 3))
def test_killed_in_any_stage_the_same_command_goes_on_to_the_same_bytes(
    runs: Runs, orphans: Any, tally: Tally, attempt: int
) -> None:
    """SIGKILL to the flow a random moment into a stage; what was finished is not done again."""
    dice, name, lost = random.Random(attempt), f"killed{attempt}", list[Any]()
    stage = STAGES[(attempt * 2 + 2) % len(STAGES)]
    process = runs.start(name)
    assert runs.at_work(name, stage, process)
    time.sleep(dice.random() * (3 if stage in ("train", "generate") else 0.1))
    children = below(process) if process.poll() is None else []
    process.kill()
    process.wait()  # not for the end of what it prints: its own Prefect server outlives it, and holds that open
    lost += [f"left behind: {words}" for words in orphans(children) if "worker" in words]
    done = {m.id for m in Store(runs.store(name)).manifests()}
    again = runs.finish(runs.start(name), lost)
    lost += [e["artifact"] for e in again if e["artifact"] in done and e["status"] != "reused"]
    if runs.digests(again, name) != runs.undisturbed:
        lost.append("other bytes")
    tally("1 SIGKILL of the flow at a random moment", 1, lost)


@pytest.mark.parametrize("attempt", range(10 if FULL else 1))
def test_a_killed_trainer_fails_the_run_and_the_next_one_resumes(runs: Runs, tally: Tally, attempt: int) -> None:
    """SIGKILL to the trainer alone, as for want of memory: exit 1 with the signal's name, then the same adapter."""
    dice, name, lost = random.Random(100 + attempt), f"trainer{attempt}", list[Any]()
    process = runs.start(name)
    assert runs.at_work(name, "train", process)
    while not (trainer := [p for p in below(process) if "tasks.lora_worker" in " ".join(p.cmdline())]):
        time.sleep(0.01)
    time.sleep(dice.random() * 6)
    trainer[0].kill()
    _, said = process.communicate(timeout=200)
    if process.returncode != 1 or "the worker was killed by SIGKILL" not in said.strip().splitlines()[-1]:
        lost.append((process.returncode, said[-600:]))
    if runs.digests(runs.finish(runs.start(name), lost), name) != runs.undisturbed:
        lost.append("other bytes")
    tally("2 SIGKILL of the trainer", 1, lost)


@pytest.mark.parametrize("attempt", range(20 if FULL else 2))
def test_terminated_it_leaves_a_checkpoint_and_nobody_behind(
    runs: Runs, orphans: Any, tally: Tally, attempt: int
) -> None:
    """SIGTERM to the flow while it trains: over within 10 s with 143, trainer and server gone, resumed to the same bytes."""
    dice, name, lost = random.Random(200 + attempt), f"terminated{attempt}", list[Any]()
    process = runs.start(name)
    assert runs.at_work(name, "train", process)
    while not any("tasks.lora_worker" in " ".join(p.cmdline()) for p in below(process)):
        time.sleep(0.01)
    time.sleep(dice.random() * 6)
    trained = bool(list((runs.store(name) / "3_train").glob("*/manifest.json")))
    children, started = below(process), time.monotonic()
    process.terminate()
    _, said = process.communicate(timeout=60)
    seconds = time.monotonic() - started
    if process.returncode != 143 or seconds > 10 or "interrupted" not in said.strip().splitlines()[-1]:
        lost.append((process.returncode, round(seconds, 1), said[-600:]))
    lost += [f"left behind: {words}" for words in orphans(children, 5)]
    again = runs.finish(runs.start(name), lost)
    if trained and next(e["status"] for e in again if e["stage"] == "train") != "reused":
        lost.append("trained twice")
    if runs.digests(again, name) != runs.undisturbed:
        lost.append("other bytes")
    tally("3 SIGTERM while it trains", 1, lost)

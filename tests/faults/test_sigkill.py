"""Rows 1 to 4: kills at random moments and at every boundary; the same command again then ends with the same bytes.

tests/tasks/training/test_loop.py stops the loop in every step. In tests/tasks/workers/test_launcher.py workers end with
their parent; in tests/tasks/test_generate.py finished batches survive; tests/system/test_station.py cancels in the UI.
"""

import contextlib
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from artifacts.artifact_store import Store
from tasks.training import checkpoint
from tests.faults.fault_table import Tally
from tests.faults.run_helpers import STAGES, Runs
from tests.support.artifacts import FILES, publish_small_artifact
from tests.support.data import tiny_data
from tests.support.pipelines import small_overrides
from tests.support.training import start_worker, worker_config, worker_result

STEPS = 60


@pytest.fixture(scope="module")
def runs(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    folder = tmp_path_factory.mktemp("kills")
    more = [f"train.max_steps={STEPS}", "runtime.threads=1"]
    runs_of_recipe = Runs(
        folder, [*small_overrides("smollm2-135m", models["llama"], tiny_data(folder / "data")), *more]
    )
    yield runs_of_recipe
    runs_of_recipe.close()


@pytest.fixture(scope="module")
def undisturbed(runs: Runs) -> dict[str, str]:
    """The digests of an undisturbed run."""
    lost: list[Any] = []
    stages = runs.finished("undisturbed", lost, inline=True)
    assert lost == []
    return runs.digests("undisturbed", stages)


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


@pytest.mark.faults
@pytest.mark.parametrize("attempt", range(30), ids=lambda i: f"{STAGES[i % len(STAGES)]}{i}")
def test_killed_in_any_stage_the_same_command_goes_on_to_the_same_bytes(
    runs: Runs, undisturbed: dict[str, str], orphans: Any, tally: Tally, attempt: int
) -> None:
    """SIGKILL to the flow a random moment into a stage; what was finished is not done again. Three with workers."""
    dice, name, lost = random.Random(attempt), f"killed{attempt}", list[Any]()
    stage, inline = STAGES[attempt % len(STAGES)], attempt % 10 != 2
    run = runs.start(name, inline)
    run.until(lambda: runs.at_work(name, stage))
    time.sleep(dice.random() * (1.5 if stage in ("train", "generate") else 0.3))
    children = run.below()
    with contextlib.suppress(psutil.NoSuchProcess):
        run.process.kill()
    run.end()
    lost += [f"left behind: {words}" for words in orphans(children)]
    stored = runs.complete_artifacts(name)
    again = runs.finished(name, lost, inline)
    after = runs.complete_artifacts(name)
    lost += [id_ for id_, at in stored.items() if after.get(id_) != at]
    lost += [e["artifact"] for e in again if e["artifact"] in stored and e["status"] != "reused"]
    if runs.digests(name, again) != undisturbed:
        lost.append("other bytes")
    tally("1 SIGKILL of the flow at a random moment", 1, lost)


@pytest.mark.faults
def test_a_killed_trainer_fails_the_run_in_one_line_and_the_next_one_goes_on(
    runs: Runs, undisturbed: dict[str, str], tally: Tally
) -> None:
    """SIGKILL to the trainer only, as for lack of memory: exit 1 with the signal's name, then the same adapter."""
    lost: list[Any] = []
    run = runs.start("trainer")
    assert run.until(lambda: f" of {STEPS}  loss" in run.stderr)
    trainer = run.worker()
    assert trainer
    trainer.kill()
    if run.end() != 1 or "the worker was killed by SIGKILL" not in run.stderr.strip().splitlines()[-1]:
        lost.append(run.stderr[-600:])
    if runs.digests("trainer", runs.finished("trainer", lost)) != undisturbed:
        lost.append("other bytes")
    tally("2 SIGKILL of the trainer", 1, lost)


@pytest.mark.faults
@pytest.mark.usefixtures("workers_inline")
def test_a_trainer_killed_time_and_again_ends_with_the_same_adapter(
    models: dict[str, Path], data: Path, tmp_path: Path, tally: Tally
) -> None:
    """SIGKILL at six random moments of a training with a checkpoint per step; it resumes from the newest intact one."""
    dice, lost, tries = random.Random(2), list[Any](), 6
    undisturbed_config = worker_config(models, data, tmp_path / "whole", max_steps=120)
    worker_result(start_worker(undisturbed_config))
    file, checkpoints = worker_config(models, data, tmp_path / "run", max_steps=120), tmp_path / "run/work/checkpoints"

    def newest() -> int:
        manifests = checkpoints.glob("step-*/manifest.json")
        return max((int(manifest.parent.name.removeprefix("step-")) for manifest in manifests), default=0)

    for _ in range(tries):
        resumed_from, process, end = newest(), start_worker(file), time.monotonic() + 200
        while newest() == resumed_from and process.poll() is None:
            assert time.monotonic() < end
            time.sleep(0.002)
        time.sleep(dice.random() * 0.15)
        process.kill()
        output = process.communicate(timeout=60)[0]
        if process.returncode != -signal.SIGKILL or (
            resumed_from and f"from the checkpoint after step {resumed_from} " not in output
        ):
            lost.append((resumed_from, process.returncode, output[-400:]))
    at = newest()
    measured = worker_result(start_worker(file))["measured"]
    if not 0 < at < 120 or measured["resumed_at"] != at:
        lost.append((at, measured))
    for part in (tmp_path / "whole/out").iterdir():
        if (tmp_path / "run/out" / part.name).read_bytes() != part.read_bytes():
            lost.append(part.name)
    tally("2 SIGKILL of the trainer", tries, lost)


@pytest.mark.faults
def test_terminated_twenty_times_it_leaves_checkpoints_and_no_processes(
    runs: Runs, undisturbed: dict[str, str], orphans: Any, tally: Tally
) -> None:
    """SIGTERM to the flow while it trains: a checkpoint within 10 s, exit 143, everybody gone, then the same bytes."""
    dice, lost, tries = random.Random(3), list[Any](), 0
    for name in ("terminated0", "terminated1", "terminated2", "terminated3"):
        steps = [0]
        for _ in range(5):
            run = runs.start(name)
            assert run.until(lambda run=run: f" of {STEPS}  loss" in run.stderr or run.stderr.count("resuming from")), (
                run.stderr
            )
            time.sleep(dice.random() * 0.15)
            children, began = run.below(), time.time()
            run.process.terminate()
            code = run.end(60)
            manifests = list(runs.store_folder(name).glob(".scratch/train-*/**/step-*/manifest.json"))
            steps.append(max((int(file.parent.name.removeprefix("step-")) for file in manifests), default=0))
            seconds = max((file.stat().st_mtime for file in manifests), default=0.0) - began
            tries += 1
            if code != 143 or not 0 < seconds < 10 or "interrupted" not in run.stderr.strip().splitlines()[-1]:
                lost.append((name, code, round(seconds, 1), run.stderr[-600:]))
            if not steps[-2] < steps[-1] < STEPS:
                lost.append((name, "steps", steps, run.stderr[-600:]))
            lost += [f"left behind: {words}" for words in orphans(children, 5)]
        if runs.digests(name, runs.finished(name, lost)) != undisturbed:
            lost.append("other bytes")
    tally("3 SIGTERM while it trains", tries, lost)


# -- row 4


def killed_at(boundary: int, what: Callable[[], object]) -> bool:
    """Fork a process that is killed before its n-th call that changes the disk; False if it reached its end."""
    if not (pid := os.fork()):
        left = iter(range(boundary))

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            writes = event in (
                "os.rename",
                "os.mkdir",
                "os.rmdir",
                "os.remove",
                "os.link",
                "os.truncate",
                "shutil.rmtree",
            )
            writes |= event == "open" and bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if writes and next(left, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        sync = os.fsync

        def fsync(handle: int) -> None:  # which Python does not audit
            hook("os.rename", ())
            sync(handle)

        os.fsync = fsync
        sys.addaudithook(hook)
        code = 1
        try:
            what()
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    ended = os.waitstatus_to_exitcode(status)
    assert ended in (0, -signal.SIGKILL)
    return ended != 0


@pytest.mark.parametrize("earlier", [False, True], ids=["new", "replacing"])
def test_an_artifact_killed_at_any_file_boundary_is_complete_or_absent(
    store: Store, tally: Tally, earlier: bool
) -> None:
    """SIGKILL before every call that changes the disk; the next publish succeeds without any cleaning by hand."""
    lost: list[Any] = []
    boundary = 0
    while True:
        shutil.rmtree(store.root.path, ignore_errors=True)
        if earlier:
            publish_small_artifact(store, {"a.bin": b"earlier"})
        if not killed_at(boundary, lambda: publish_small_artifact(Store.current())):
            break
        fresh = Store(store.root)
        for manifest in fresh.manifests():
            complete = set(fresh.verified(manifest.path).files)
            if complete not in ({"a.bin"} if earlier else set(FILES), set(FILES)):
                lost.append((boundary, complete))
        if set(fresh.verified(publish_small_artifact(fresh).path).files) != set(FILES):
            lost.append((boundary, "again"))
        boundary += 1
    assert boundary > 8
    tally("4 SIGKILL at a file boundary of an artifact", boundary, lost)


def test_a_checkpoint_killed_at_any_file_boundary_leaves_the_one_before(tmp_path: Path, tally: Tally) -> None:
    """Or is complete itself; a training never resumes from a partial one, and the next save succeeds."""
    tensors = {"adapter": torch.arange(40.0), "optimizer.exp_avg": torch.ones(40)}
    lost: list[Any] = []
    boundary = 0

    def save(step: int) -> None:
        curve = [{"step": i + 1} for i in range(step)]
        checkpoint.save(tmp_path / "c", "this", checkpoint.Progress(step, curve, 60), tensors)

    while True:
        shutil.rmtree(tmp_path / "c", ignore_errors=True)
        for step in (1, 2, 3):
            save(step)
        if not killed_at(boundary, lambda: save(4)):
            break
        messages: list[str] = []
        newest = checkpoint.load_newest(tmp_path / "c", "this", messages.append)
        if (
            newest is None
            or newest[0].steps_done not in (3, 4)
            or messages
            or len(newest[0].curve) != newest[0].steps_done
        ):
            lost.append((boundary, newest and newest[0].steps_done, messages))
        save(4)
        again = checkpoint.load_newest(tmp_path / "c", "this", messages.append)
        if again is None or again[0].steps_done != 4:
            lost.append((boundary, "again"))
        boundary += 1
    assert boundary > 8
    tally("4 SIGKILL at a file boundary of a checkpoint", boundary, lost)

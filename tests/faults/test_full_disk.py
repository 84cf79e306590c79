"""Row 7: a full disk. The running stage fails with one line that names the folder and the free bytes, finished stages
stay intact, and the same command continues once there is room.

The limit is the kernel's own (RLIMIT_FSIZE), set for one stage at a time. Where a tmpfs may be mounted, the whole
command also runs on a small one until it is full.
"""

import contextlib
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.errors import DiskFullError
from artifacts.manifest import Manifest
from tasks.execution.job import Job
from tasks.execution.stage import Stage
from tests.faults.fault_table import Tally
from tests.support.paths import ROOT
from tests.support.pipelines import DagWalker, set_options

STAGES = (
    "download",
    "format train",
    "format eval",
    "train",
    "generate base",
    "generate tuned",
    "score",
    "promote",
    "report",
)


@contextlib.contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """No file of this process may become longer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class Filling(DagWalker):
    """The disk is full during one stage, once; the run then continues as if space had been freed."""

    def __init__(self, stage: str, size: int) -> None:
        super().__init__()
        self.stage, self.size, self.said = stage, size, ""
        self.whole: list[Manifest] = []

    def execute(self, store: Store, stage: Stage, job: Job) -> tuple[Manifest, bool]:
        if not self.said and self.stage == " ".join(filter(None, [stage.name, job.variant])):
            self.whole = store.manifests()
            with files_at_most(self.size), pytest.raises(DiskFullError) as refused:
                super().execute(store, stage, job)
            self.said = str(refused.value)
            assert [m for m in Store(store.root).manifests() if Store(store.root).verified(m.path)] == self.whole
        return super().execute(store, stage, job)


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param(
            s,
            marks=pytest.mark.faults if s.startswith(("train", "generate", "report")) else pytest.mark.slow,
        )
        for s in STAGES
    ],
)
@pytest.mark.usefixtures("workers_inline")
def test_a_full_disk_ends_the_stage_in_one_line_and_loses_nothing(
    copied: Path, overrides: list[str], tally: Tally, stage: str
) -> None:
    """In every stage, with room for nothing and with room for a little; what comes out afterwards is as ever."""
    lost: list[Any] = []
    there = {" ".join(filter(None, [m.stage, m.variant])): m for m in Store.current().manifests()}
    for size in (0, 300):
        shutil.rmtree(Store.current().absolute(there[stage].path))
        walk = Filling(stage, size)
        walk.through(overrides)
        named = re.search(r"the disk is full: /\S+ has [\d,]+ bytes free", walk.said)
        (manifest,) = [manifest for manifest, ran in walk.results if ran]
        as_ever = manifest.digest == there[stage].digest or stage == "report"  # which names the run
        if not named or "\n" in walk.said or manifest.id != there[stage].id or not as_ever:
            lost.append((size, walk.said, manifest.digest))
    tally("7 disk full while a stage writes", 2, lost)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no tmpfs may be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.faults
def test_the_command_on_a_disk_that_fills_up_goes_on_once_there_is_room(
    small_disk: Path, overrides: list[str], tmp_path: Path, tally: Tally
) -> None:
    """A file takes all but some of the room: at each size the command ends with one line; then the file is removed."""
    lost: list[Any] = []
    sizes = (8, 64, 160)
    environment = {"DIALOGSUM_STORE": str(small_disk / "store"), "PREFECT_HOME": str(tmp_path / "prefect")}

    def run() -> Any:
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", "run", *set_options(overrides)],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        )

    for kib in sizes:
        ballast = small_disk / "ballast"
        free = shutil.disk_usage(small_disk).free
        ballast.write_bytes(b"x" * max(0, free - kib * 1024))
        process = run()
        last = process.stderr.strip().splitlines()[-1]
        if process.returncode == 0 or "Traceback" in last or not re.search(r"cannot be written|the disk is full", last):
            lost.append((kib, process.returncode, process.stderr[-600:]))
        ballast.unlink()
        assert all(Store(small_disk / "store").verified(m.path) for m in Store(small_disk / "store").manifests())
    process = run()
    if process.returncode:
        lost.append(("room", process.stderr[-600:]))
    tally("7 disk full under the whole command", len(sizes) + 1, lost)

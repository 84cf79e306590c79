"""How many GPUs there are is what CUDA will see, found without loading anything heavy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.errors import RequestError
from tasks.workers import gpus
from tasks.workers.gpus import process_count, visible_gpus, worker_environments
from tests.support.paths import ROOT

LISTED = """GPU 0: NVIDIA H200 (UUID: GPU-1)
  MIG 1g.18gb Device 0: (UUID: MIG-1)
GPU 1: NVIDIA H200 (UUID: GPU-2)
"""


@pytest.mark.parametrize(
    ("named", "count"), [("", 0), ("-1", 0), ("0", 1), ("1, 3", 2), ("GPU-8a,GPU-9b", 2), ("0,-1,1", 1)]
)
def test_what_the_environment_names_is_counted(named: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As CUDA reads it: up to the first that is none."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == count


@pytest.mark.parametrize(("script", "count"), [(f"cat <<'X'\n{LISTED}X\n", 2), ("exit 9", 0), (None, 0)])
def test_without_the_variable_the_driver_lists_the_gpus(
    script: str | None, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line a GPU; a driver that fails or is not there means none."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), *(["/bin"] if script else [])]))
    if script:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setattr(gpus, "_driver_gpus", gpus._driver_gpus.__wrapped__)  # it asks once a process
    assert visible_gpus() == count


def test_torch_is_not_imported() -> None:
    """Planning asks for GPUs too."""
    script = (
        "import sys, tasks.workers.gpus, tasks.generate; tasks.workers.gpus.visible_gpus(); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


ONE_EACH = [{"CUDA_VISIBLE_DEVICES": "4"}, {"CUDA_VISIBLE_DEVICES": "7"}]


@pytest.mark.parametrize(
    ("visible", "device", "limit", "batches", "expected"),
    [
        ("", "auto", None, 63, [{}]),
        ("", "auto", 2, 63, [{}, {}]),
        ("", "auto", 2, 1, [{}]),
        ("", "auto", 0, 1, [{}]),
        ("4,7", "auto", None, 4, ONE_EACH),
        ("4,7", "auto", None, 1, [{}]),
        ("4,7", "auto", None, 0, [{}]),
        ("4,7", "auto", 1, 4, [{}]),
        ("4,7,-1,8", "cuda", None, 2, ONE_EACH),
        ("4,7", "cpu", None, 4, [{}]),
    ],
)
def test_every_gpu_that_has_a_batch_gets_a_process(
    visible: str, device: str, limit: int | None, batches: int, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process per visible GPU unless the recipe limits them; a single process takes the first."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert worker_environments(device, limit, batches) == expected


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_more_gpus_than_are_visible_are_refused(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert process_count(device, 2) == 2
    with pytest.raises(RequestError, match=r"runtime\.gpus is 5, but only 2 can be seen"):
        process_count(device, 5)
    with pytest.raises(RequestError, match=r"runtime\.gpus is 5"):
        worker_environments(device, 5, 100)
    assert process_count("cpu", 5) == 5

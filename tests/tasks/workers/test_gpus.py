"""How many GPUs there are is what CUDA will see, found without loading anything heavy."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.workers import gpus
from tasks.workers.gpus import visible_gpus
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
def test_otherwise_the_driver_is_asked(
    script: str | None, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line a GPU; a driver that fails or is not there means none."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), *(["/bin"] if script else [])]))
    if script:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}")
        (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setattr(gpus, "_listed", gpus._listed.__wrapped__)  # it asks once a process
    assert visible_gpus() == count


def test_torch_is_not_imported() -> None:
    """Planning asks for GPUs too."""
    script = "import sys, tasks.workers.gpus, tasks.generate; tasks.workers.gpus.visible_gpus(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)

"""Version 0.1.0: its code from git, and a store that it made (make_store.py), kept as store.tar.xz."""

import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.support.paths import ROOT

COMMIT = "b86b7ce0a7bf9496d9446666f255bdd4d7b0de1e"
FOLDER = Path(__file__).resolve().parent
MAKE_STORE = FOLDER / "make_store.py"


def unpack_store(folder: Path) -> None:
    """Write the store that version 0.1.0 made, as `folder/store`, and its data, as `folder/data`."""
    with tarfile.open(FOLDER / "store.tar.xz") as archive:
        archive.extractall(folder, filter="data")


def check_out(folder: Path) -> Path:
    """Write the code of version 0.1.0 into `folder`. The test is skipped where git does not have its commit."""
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", COMMIT], capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"git does not have commit {COMMIT[:7]}, version 0.1.0: `git fetch --unshallow` gets it")
    folder.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder

"""Row 13: a store that cannot be written, or that another version of this project wrote, is refused and left alone.

tests/artifacts/test_artifact_store.py refuses manifests of another format in every kind of store;
tests/flows/cli/test_errors.py refuses a store below a file.
"""

import ctypes
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.manifest import checksum_of
from tests.faults.fault_table import Tally
from tests.support.paths import ROOT
from tests.support.pipelines import set_options

DROP_FROM_BOUNDING_SET, DAC_OVERRIDE = 24, 1  # prctl(2), capabilities(7)


def obey_modes() -> None:
    """In a new process: root obeys the modes of files as everybody does."""
    ctypes.CDLL(None, use_errno=True).prctl(DROP_FROM_BOUNDING_SET, DAC_OVERRIDE, 0, 0, 0)


def bytes_of(store: Path) -> dict[str, str]:
    return {
        str(file.relative_to(store)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(store.rglob("*"))
        if file.is_file() and ".scratch" not in file.parts
    }


@pytest.fixture
def read_only(copied: Path) -> Iterator[Path]:
    """The store of a finished run, without write permission."""
    folder = Path(Store.current().root.path)
    shutil.rmtree(folder / ".scratch", ignore_errors=True)
    folders = [folder, *(f for f in folder.rglob("*") if f.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    yield folder
    for folder in folders:
        folder.chmod(0o755)


@pytest.mark.faults
def test_a_read_only_store_is_read_and_never_half_written(read_only: Path, overrides: list[str], tally: Tally) -> None:
    """What writes is refused with the path and the way out before a server starts; what reads, reads."""
    options, lost = set_options(overrides), []
    artifact = Store.current().manifests("train")[0].id
    contents = bytes_of(read_only)
    tries: list[tuple[list[str], int]] = [
        (["run", *options], 2),
        (["evaluate", *options], 2),
        (["gc", "--delete", "--days", "0"], 2),
        (["pin", artifact], 2),
        (["plan", *options], 0),
        (["show", artifact], 0),
        (["store"], 0),
    ]
    for arguments, code in tries:
        process = subprocess.run(
            [sys.executable, "-m", "flows.cli", *arguments],
            preexec_fn=obey_modes,
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        refused = (
            process.stderr.count("\n") == 1 and str(read_only) in process.stderr and "DIALOGSUM_STORE" in process.stderr
        )
        if process.returncode != code or (code == 2 and not refused):
            lost.append((arguments[0], process.returncode, process.stderr[-400:]))
    assert bytes_of(read_only) == contents
    tally("13 read-only store", len(tries), lost)


def rewrite(store: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Manifests as another version would have written them, valid by its rules."""
    for file in store.glob("*/*/manifest.json"):
        content = change(json.loads(file.read_text()))
        file.write_text(json.dumps(content | {"seal": checksum_of(content)}))


VERSIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "older": lambda content: content | {"format": 0},
    "before there were formats": lambda content: {k: v for k, v in content.items() if k != "format"},
    "newer": lambda content: content | {"format": 2, "licence": "of the data"},
    "much newer": lambda content: {"format": 17, "sealed": True},
}


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_the_store_of_another_version_is_refused_and_left_alone(
    copied: Path, overrides: list[str], command: Any, tally: Tally, version: str
) -> None:
    """Nothing is taken for damage and made again, nothing is removed, nothing is read that may mean something else."""
    folder, options, lost = Path(Store.current().root.path), set_options(overrides), []
    artifact = Store.current().manifests("train")[0].id
    rewrite(folder, VERSIONS[version])
    contents = bytes_of(folder)
    tries = [
        ["plan", *options],
        ["show"],
        ["show", artifact],
        ["store"],
        ["gc", "--days", "0", "--delete"],
        ["history", *options],
        ["results"],
        ["pin", artifact],
        ["plan", *options, "--adapter", "latest"],
        ["rollback", *options],
    ]
    for arguments in tries:
        code, out, stderr = command(*arguments)
        known = (
            "another version of this project" in stderr or "no champion" in stderr
        )  # rolls back nobody: there is none
        if (code, out, stderr.count("\n")) != (2, "", 1) or not known:
            lost.append((arguments[0], code, out, stderr))
    assert bytes_of(folder) == contents
    tally(f"13 store of {'a newer' if 'newer' in version else 'an older'} version", len(tries), lost)

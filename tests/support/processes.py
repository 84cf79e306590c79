"""Commands and workers as processes of their own."""

import os
import sys
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT


def run_cli(*arguments: str, root: Path = ROOT, **environment: str) -> Any:
    """The command line in a process of its own, from the code under `root`."""
    import subprocess

    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)} | environment,
    )

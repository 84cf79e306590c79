"""The command line as a process of its own."""

import os
import sys
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT


def run_cli(*arguments: str, root: Path = ROOT, **environment: str) -> Any:
    """Run the command line of the code under `root` in a process of its own."""
    import subprocess

    return subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)} | environment,
    )

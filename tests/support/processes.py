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


def start_cli(*arguments: str) -> Any:
    """The same without waiting for its end: a `Popen`."""
    import subprocess

    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def call_cli(*arguments: str) -> Any:
    """The same in this process, which saves the imports. For requests that start neither Prefect nor a worker."""
    import contextlib
    import io
    import signal
    import subprocess
    from unittest.mock import patch

    from flows.cli.main import main

    out, error = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    terminate = signal.getsignal(signal.SIGTERM)
    code: Any = 0
    with patch.object(sys, "argv", ["dialogsum", *arguments]), contextlib.redirect_stdout(out):
        try:
            with contextlib.redirect_stderr(error):
                main()
        except SystemExit as end:
            code = end.code or 0
        finally:
            signal.signal(signal.SIGTERM, terminate)
    texts = []
    for stream in (out, error):
        stream.flush()
        stream.seek(0)
        texts.append(stream.read())
    return subprocess.CompletedProcess(arguments, code, *texts)

"""A machine that shares nothing with others but a store."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT
from tests.support.servers import S3


class IsolatedMachine:
    """Folders and environment of one machine; only the recipe's inputs and the S3 server are known to others."""

    def __init__(self, folder: Path, store: str, server: S3, **more: str) -> None:
        self.folder = folder
        for name in ("home", "tmp", "work", "prefect"):
            (folder / name).mkdir(parents=True)
        places = {"HOME": "home", "TMPDIR": "tmp", "PREFECT_HOME": "prefect"}
        own = {name: str(folder / name_of_folder) for name, name_of_folder in places.items()}
        self.environment = (
            os.environ | server.environment | own | more | {"DIALOGSUM_STORE": store, "PYTHONPATH": str(ROOT)}
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command line in the work folder of this machine."""
        return subprocess.Popen(
            [sys.executable, "-m", "flows.cli", *arguments],
            cwd=self.folder / "work",
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def call(self, *arguments: str, code: int = 0) -> Any:
        """Run a command: the JSON object it prints or, for an exit `code`, the last line of its standard error."""
        process = self.start(*arguments, "--json")
        answer, stderr = process.communicate(timeout=500)
        assert process.returncode == code, stderr
        return stderr.strip().splitlines()[-1] if code else json.loads(answer)

    def files(self) -> list[Path]:
        """Files on this machine except Prefect's database and matplotlib's list of fonts."""
        others = (self.folder / "prefect", self.folder / "home" / ".cache" / "matplotlib")
        return [file for file in self.folder.rglob("*") if file.is_file() and not any(map(file.is_relative_to, others))]

    @property
    def scratch(self) -> Path:
        (folder,) = (self.folder / "tmp").glob("dialogsum-*")
        return folder

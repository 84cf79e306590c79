"""The station of `bench soak`: started and asked through the commands that people use, and the server's API."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from artifacts.errors import StageError
from artifacts.text import one_line
from flows.benchmarks.child_process import ROOT
from flows.benchmarks.soak_server import SoakServer

SETTINGS = {
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ORPHAN_CLEANUP_LOOP_SECONDS": "600",
}
"""What a server does each hour or day, and how often workers look for runs: weeks are short here."""


class SoakStation:
    """A station in a folder of its own."""

    def __init__(self, folder: Path, recipe: str, overrides: tuple[str, ...]) -> None:
        self.folder, self.home, self.recipe, self.overrides = folder, folder / "station", recipe, overrides
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self.ports = _free_ports()
        url = f"http://127.0.0.1:{self.ports[0]}/api"
        self.environment = os.environ | {
            "DIALOGSUM_STATION": str(self.home),
            "DIALOGSUM_STORE": str(folder / "store"),
            "PREFECT_HOME": str(self.home),
            "PREFECT_API_URL": url,
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "TMPDIR": str(self.temporary),
            **SETTINGS,
        }
        self.server = SoakServer(url)

    def command(self, *words: str) -> float:
        """Run a command; returns its seconds. StageError if it fails; `station status` may report problems."""
        started = time.monotonic()
        arguments = [sys.executable, "-m", "flows.cli", *words]
        process = subprocess.run(
            arguments, capture_output=True, text=True, check=False, cwd=self.folder, env=self.environment
        )
        if process.returncode and words != ("station", "status"):
            raise StageError(f"{' '.join(words[:2])}: {one_line(process.stderr[-300:])}")
        return time.monotonic() - started

    def pipeline_command(self, name: str) -> float:
        """The same for a command that takes a recipe."""
        return self.command(name, self.recipe, *(word for each in self.overrides for word in ("--set", each)))

    def up(self) -> None:
        """Start what does not run. Tried twice: on a busy machine the server may take too long to answer."""
        ports = ["--port", str(self.ports[0]), "--reports-port", str(self.ports[1])]
        command = ["station", "up", *ports, "--recipe", self.recipe]
        try:
            self.command(*command)
        except StageError:
            self.command(*command)
        self.server.override(self.overrides)

    def down(self) -> None:
        """Stop everything."""
        self.command("station", "down")

    def process(self, name: str) -> psutil.Process:
        """A process of the station."""
        return psutil.Process(json.loads((self.home / f"{name}.process.json").read_text())["pid"])

    def restart_server(self) -> None:
        """End the server alone, and start it again."""
        server = self.process("server")
        server.terminate()
        server.wait(300)
        self.up()

    def kill_run(self, identifier: str) -> bool:
        """SIGKILL to the process of a run and to what it has started. False if there is none."""
        found = False
        for process in self.process("cpu-worker").children(True) + self.process("gpu-worker").children(True):
            with suppress(psutil.Error):
                if process.environ().get("PREFECT__FLOW_RUN_ID") == identifier:
                    process.kill()
                    found = True
        return found

    def kill_worker(self, name: str) -> None:
        """SIGKILL to a worker and all its runs at once."""
        worker = self.process(name)
        for process in [worker, *worker.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def memory(self, *names: str) -> int:
        """Resident bytes of processes of the station and their descendants."""
        total = 0
        for name in names:
            process = self.process(name)
            for each in [process, *process.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    total += each.memory_info().rss
        return total


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]

"""Row 18: a run leaves the hub's token and the S3 key in no file, log, artifact, database, parameter or command line.

A real run on a real S3 server, with failures: a training that diverges, a killed worker, a hub that refuses and repeats
the token in its answer, a store that goes away, wrong credentials.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.fake_hub import Hub, serving
from tests.faults.fault_table import Tally
from tests.support.data import tiny_data
from tests.support.machines import IsolatedMachine
from tests.support.pipelines import set_options, small_overrides
from tests.support.processes import run_cli
from tests.support.servers import S3

TOKEN = "hf_" + "canaryOfTheSecretsTest" * 2
SECRET = S3.SECRET


class Watch(threading.Thread):
    """Looks at the command line of every process, again and again, as `ps` does."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over, self.seen, self.looks = threading.Event(), list[str](), 0

    def run(self) -> None:
        while not self.over.wait(0.05):
            self.looks += 1
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = file.read_bytes()
                except OSError:
                    continue
                if TOKEN.encode() in words or SECRET.encode() in words:
                    self.seen.append(str(words))


def holding(machine: IsolatedMachine, look: Any, store: str) -> list[str]:
    """Every file of the machine and every object of the store that contains a secret."""
    places = []
    needles = (TOKEN.encode(), SECRET.encode())
    for file in machine.folder.rglob("*"):
        if file.is_file() and not file.is_symlink() and any(needle in file.read_bytes() for needle in needles):
            places.append(str(file))
    for path in look.find(store):
        if any(needle in look.cat_file(path) for needle in needles):
            places.append(path)
    return places


def test_a_refusing_hub_that_repeats_the_token_is_not_repeated(
    models: dict[str, Path], tmp_path: Path, tally: Tally
) -> None:
    """Neither in the output nor in any file, even with --debug."""
    hub, lost = Hub(models["llama"]), list[str]()
    hub.faults = {"info": [401, -1]}
    options = set_options(small_overrides("smollm2-135m", models["llama"], tiny_data(tmp_path / "data")))
    with serving(hub) as address:
        online = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "hf")}
        process = run_cli("plan", *options, "--set", "model.source=owner/model", "--debug", **online)
    assert (process.returncode, any(TOKEN in seen for seen in hub.seen)) == (2, True), process.stderr
    lost += [process.stderr] if TOKEN in process.stdout + process.stderr else []
    lost += [str(file) for file in tmp_path.rglob("*") if file.is_file() and TOKEN.encode() in file.read_bytes()]
    tally("18 token that a refusing hub repeats", 1, lost)


@pytest.mark.faults
def test_secrets_are_nowhere_after_runs_that_fail_and_one_that_succeeds(
    s3: str, s3_server: S3, models: dict[str, Path], tmp_path: Path, tally: Tally
) -> None:
    """Files, objects, Prefect's database, what is printed, what `ps` shows; the report of the run among them."""
    data, hub = tiny_data(tmp_path / "data"), Hub(models["llama"])
    hub.faults = {"info": [500, 500, 500, 500, 401, 403]}
    options = set_options(small_overrides("smollm2-135m", models["llama"], data))
    watch, lost, outputs = Watch(), list[Any](), list[str]()
    watch.start()
    with serving(hub) as address:
        online = {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_TOKEN": TOKEN, "HF_HUB_ETAG_TIMEOUT": "1"}
        machine = IsolatedMachine(tmp_path / "machine", s3, s3_server, **online)

        def call(*arguments: str, code: int, **more: str) -> None:
            process = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", *arguments],
                cwd=machine.folder / "work",
                env=machine.environment | more,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            out, err = process.communicate(timeout=500)
            outputs.extend((out, err))
            if process.returncode != code:
                lost.append((arguments[0], process.returncode, err[-600:]))

        for _ in range(3):
            call("plan", *options, "--set", "model.source=owner/model", code=2)
        call("run", *options, code=2, AWS_SECRET_ACCESS_KEY="wrong" + SECRET)
        call("run", *options, code=2, AWS_ENDPOINT_URL="http://127.0.0.1:9")
        call("run", *options, "--set", "train.learning_rate=1e38", "--set", "train.max_steps=6", "--debug", code=1)
        killed = machine.start("run", *options, "--debug")
        end = time.monotonic() + 200
        while killed.poll() is None and time.monotonic() < end:
            if workers := [p for p in children(killed.pid) if b"tasks.decoding.worker" in p[1]]:
                os.kill(workers[0][0], signal.SIGKILL)
                break
            time.sleep(0.05)
        outputs.extend(killed.communicate(timeout=200))
        if killed.returncode != 1:
            lost.append(("killed worker", killed.returncode, outputs[-1][-600:]))
        call("run", *options, "--debug", "--json", code=0)
        call("show", "--json", code=0)
        call("doctor", *options, "--json", code=0)
    watch.over.set()
    assert watch.looks > 100
    lost += watch.seen[:3]
    lost += holding(machine, s3_server.filesystem(), s3.removeprefix("s3://"))
    lost += [text[:400] for text in outputs if TOKEN in text or SECRET in text]
    assert list((machine.folder / "prefect").rglob("*.db"))  # Prefect's database was among the files
    tally("18 secrets, over a full run with failures", 10, lost)


def children(parent: int) -> list[tuple[int, bytes]]:
    """Processes below one, with their command lines."""
    environments = []
    for process in psutil.Process(parent).children(recursive=True):
        try:
            environments.append((process.pid, Path(f"/proc/{process.pid}/cmdline").read_bytes()))
        except OSError:
            continue
    return environments

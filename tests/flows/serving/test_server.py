"""The process: refused starts, and signals."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.paths import ROOT
from tests.support.processes import run_cli
from tests.support.servers import free_ports, until
from tests.support.serving import TwoAdapters, ask, overrides_for

LONG = "generate.max_new_tokens=700"


class ServeProcess:
    """`dialogsum serve` of the tiny Llama."""

    def __init__(self, adapters: TwoAdapters, folder: Path, *options: str) -> None:
        (self.port,) = free_ports(1)
        self.url, self.log = f"http://127.0.0.1:{self.port}", folder / "serve.log"
        settings = [word for each in overrides_for(adapters.model, LONG) for word in ("--set", each)]
        command = [sys.executable, "-m", "flows.cli", "serve", "--port", str(self.port), *settings, *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
            )
        until(lambda: httpx.get(f"{self.url}/health").status_code == 200, "the server")
        self.statuses: list[Any] = []

    def post(self) -> None:
        try:
            answer = httpx.post(f"{self.url}/v1/chat/completions", json=ask(model="base"), timeout=120)
            self.statuses.append(answer.status_code)
        except httpx.HTTPError as error:
            self.statuses.append(type(error).__name__)

    def begin(self, count: int) -> list[threading.Thread]:
        """Requests under way."""
        threads = [threading.Thread(target=self.post) for _ in range(count)]
        for thread in threads:
            thread.start()
        count_line = f"dialogsum_requests_in_progress {count:.1f}"
        until(lambda: count_line in httpx.get(f"{self.url}/metrics").text, "the requests", 30)
        return threads


@pytest.mark.slow
def test_a_first_signal_lets_requests_finish_and_a_second_ends_at_once(adapters: TwoAdapters, tmp_path: Path) -> None:
    """Exit code 0 after the last answer; 503 meanwhile; 143 with the second signal."""
    server = ServeProcess(adapters, tmp_path, "--seconds", "100")
    try:
        threads = server.begin(3)
        server.process.send_signal(signal.SIGTERM)
        health = until(lambda: (h := httpx.get(f"{server.url}/health")).status_code == 503 and h, "503", 20)
        assert health.json()["draining"] is True
        assert httpx.post(f"{server.url}/v1/chat/completions", json=ask(), timeout=9).status_code == 503
        for thread in threads:
            thread.join(100)
        assert server.statuses == [200, 200, 200]
        assert server.process.wait(20) == 0
    finally:
        server.process.kill()
    server = ServeProcess(adapters, tmp_path)
    try:
        threads = server.begin(1)
        server.process.send_signal(signal.SIGTERM)
        until(lambda: httpx.get(f"{server.url}/health").status_code == 503, "503", 20)
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 143
        assert time.monotonic() - started < 5
        threads[0].join(20)
        assert server.statuses != [200]
    finally:
        server.process.kill()


@pytest.mark.slow
def test_a_start_that_cannot_work_is_refused(adapters: TwoAdapters) -> None:
    """Before anything is loaded: a foreign address without token, an unknown engine, a taken port."""
    settings = [word for each in overrides_for(adapters.model) for word in ("--set", each)]
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        for options, words in (
            (["--host", "0.0.0.0"], "DIALOGSUM_SERVE_TOKEN"),
            (["--engine", "llama.cpp"], "expected native, vllm"),
            (["--engine", "vllm"], "vLLM is not installed"),
            (["--port", str(taken.getsockname()[1])], "cannot listen at 127.0.0.1"),
            (["--recipe", "quikstart"], "did you mean 'quickstart'"),
        ):
            refused = run_cli("serve", *settings, *options)
            assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr
            assert json.dumps(refused.stdout) == '""'

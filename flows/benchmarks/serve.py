"""bench serve: the server of the champion under load while the champion changes, and beside `transformers serve`."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from artifacts.errors import RequestError
from artifacts.text import one_line
from flows.benchmarks.child_process import ROOT, ChildFailedError
from flows.benchmarks.environment import BenchmarkRun, BenchmarkSettings, benchmark_run
from flows.benchmarks.serve_load import PATH, Answer, latency, load, verdict

PEERS = {"transformers serve": [], "the same, continuous batching": ["--continuous-batching"]}
"""System -> options of `transformers serve`."""
START_SECONDS = 300
"""vLLM compiles before it answers."""
PEER_COMMAND = ["-c", "from transformers.cli.transformers import main; main()", "serve"]
DIALOGUES = [
    f"Ann: The heating in flat {n} is off again. Can you send somebody?\nBob: A plumber can come at {9 + n % 8}."
    for n in range(16)
]


def bench_serve(
    settings: BenchmarkSettings, changes: int, clients: int, requests: int, new_tokens: int, pause: float
) -> tuple[list[dict[str, Any]], str]:
    """Change the champion `changes` times under load, then time `requests` requests with each server."""
    decoding = (f"generate.max_new_tokens={new_tokens}", "generate.candidates=1", "generate.beams=1")
    rows: list[dict[str, Any]] = []
    with benchmark_run(settings) as run:
        try:
            made = run.run("children.serve_store", *decoding, folder=str(run.folder))
        except ChildFailedError as failure:
            raise RequestError(f"the adapters of the benchmark could not be made: {failure}") from failure
        log = ChampionLog(Store(run.folder / "store"), made)
        with _ours(run, decoding, clients) as url:
            expected = {name: _texts(url, name) for name in made["adapters"]}
            answers, log_entries, seconds = load(
                url, DIALOGUES, clients=clients, changes=changes, change=log.alternate, first=log.current, pause=pause
            )
            counts = verdict(answers, log_entries, expected)
            note = ", ".join(f"{what}: {count}" for what, count in counts.items() if what not in ("requests", "failed"))
            rows.append(_row(f"ours, {changes} changes", answers, seconds, note))
            rows.append(_timed("ours", url, clients, requests))
        if find_spec("vllm"):
            try:
                with _ours(run, decoding, clients, "vllm") as url:
                    same = sum(
                        a == b for name in expected for a, b in zip(_texts(url, name), expected[name], strict=True)
                    )
                    note = f"the same text as ours: {same} of {sum(map(len, expected.values()))}"
                    rows.append(_timed("ours with vLLM", url, clients, requests) | {"note": note})
            except (RequestError, httpx.HTTPError) as error:
                run.failures.append("ours with vLLM")
                rows.append(_row("ours with vLLM", [], 1, one_line(error, 120)))
        for name, options in PEERS.items():
            try:
                command = [*PEER_COMMAND, str(run.folder / "merged"), "--dtype", "float32", *options]
                with _server(command, run.folder, "/health") as url:
                    extra = {"model": str(run.folder / "merged"), "max_tokens": new_tokens}
                    rows.append(_timed(name, url, clients, requests, **extra))
            except (RequestError, httpx.HTTPError) as error:
                run.failures.append(name)
                rows.append(_row(name, [], 1, one_line(error, 120)))
    return rows, (
        f"{clients} clients at once, {len(DIALOGUES)} dialogues, at most {new_tokens} new tokens. failed: not status "
        "200, or a broken connection. wrong model: not named by the log between request and answer. wrong text: not "
        "the one that the model gives alone. one model possible: the log named one model all the while."
    )


class ChampionLog:
    """Two adapters that become champion in turn, by a promotion and its rollback."""

    def __init__(self, store: Store, made: dict[str, Any]) -> None:
        self.champions = [Champion(adapter=adapter, **made["champion"]) for adapter in made["adapters"]]
        self.log = Champions(store, made["revision"])
        self._promote(0)

    @property
    def current(self) -> str:
        """The adapter in force."""
        assert self.log.current is not None
        return self.log.current.adapter

    def alternate(self) -> str:
        """Promote the second adapter, or roll it back; returns the new champion."""
        if self.current == self.champions[0].adapter:
            self._promote(1)
        else:
            self.log.roll_back("bench")
            self.log.read_new()
        return self.current

    def _promote(self, which: int) -> None:
        self.log.promote(self.champions[which], "score-00000000", "bench")
        self.log.read_new()


@contextmanager
def _ours(run: BenchmarkRun, decoding: tuple[str, ...], clients: int, engine: str = "native") -> Iterator[str]:
    settings = [word for override in (*run.overrides, *decoding) for word in ("--set", override)]
    limits = ["--requests", str(2 * clients), "--seconds", "600"]
    command = ["-m", "flows.cli", "serve", "--recipe", run.recipe, "--engine", engine, *limits, *settings]
    with _server(command, run.folder, "/health", DIALOGSUM_STORE=str(run.folder / "store")) as url:
        yield url


@contextmanager
def _server(command: list[str], folder: Path, health: str, **variables: str) -> Iterator[str]:
    """A server process on a free port; its address. RequestError if it does not answer."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    log, url = folder / f"server-{port}.log", f"http://127.0.0.1:{port}"
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path, "TQDM_DISABLE": "1"} | variables
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, *command, "--port", port], stdout=out, stderr=out, env=environment)
    try:
        _wait_for(lambda: httpx.get(f"{url}{health}", timeout=5).status_code == 200, process, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait_for(ready: Callable[[], bool], process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            if ready():
                return
        except httpx.HTTPError:
            pass
        if process.poll() is not None or time.monotonic() > until:
            raise RequestError(f"the server did not start: {one_line(log.read_text(errors='replace')[-200:])}")
        time.sleep(0.3)


def _texts(url: str, model: str) -> list[str]:
    """What a model says of each dialogue, asked one by one."""
    bodies = [{"model": model, "messages": [{"role": "user", "content": text}]} for text in DIALOGUES]
    answers = [httpx.post(f"{url}{PATH}", json=body, timeout=600).raise_for_status().json() for body in bodies]
    return [answer["choices"][0]["message"]["content"] for answer in answers]


def _timed(name: str, url: str, clients: int, requests: int, **body: Any) -> dict[str, Any]:
    load(url, DIALOGUES, clients=2, requests=4, **body)  # loads what is loaded with the first request
    answers, _, seconds = load(url, DIALOGUES, clients=clients, requests=requests, **body)
    return _row(name, answers, seconds)


def _row(system: str, answers: Sequence[Answer], seconds: float, note: str = "") -> dict[str, Any]:
    failed = sum(answer.status != 200 for answer in answers)
    return {"system": system, "requests": len(answers), "failed": failed} | latency(answers, seconds) | {"note": note}

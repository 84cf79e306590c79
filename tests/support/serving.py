"""A server of the champion for tests: two tiny adapters, a champion log to change, and a real port."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from flows.serving.application import application
from flows.serving.config import Limits, ServeConfig
from tasks.config import ModelConfig
from tasks.sources.resolve import resolve_model
from tests.support.models import publish_adapter
from tests.support.servers import free_ports, until

TEMPLATE = "Sum up:\n{dialogue}"
DIALOGUE = "Ann: Hi Bob, the heating is off.\nBob: Hi Ann, I will send somebody."
NEW_TOKENS = 12


def overrides_for(model: Path, *more: str) -> tuple[str, ...]:
    """Settings that make quickstart use the tiny Llama."""
    turns, device = "model.turns=chatml", ("runtime.device=cpu", "runtime.threads=1")
    return (f"model.source={model}", turns, f"generate.max_new_tokens={NEW_TOKENS}", *device, *more)


def config_for(model: Path, *more: str, **options: Any) -> ServeConfig:
    """The configuration of a server of that model."""
    values: dict[str, Any] = {"recipe": "quickstart", "overrides": overrides_for(model, *more), "poll_seconds": 0.2}
    return ServeConfig(**(values | options))


def limits(**values: Any) -> Limits:
    return Limits(**values)


class TwoAdapters:
    """A store with two adapters of one base model, and the champion log of that model."""

    def __init__(self, store: Store, model: Path, folder: Path) -> None:
        self.store, self.model = store, model
        self.ids = [
            publish_adapter(store, model, folder / key, TEMPLATE, key * 32, seed)
            for seed, key in enumerate(("ab", "cd"), 1)
        ]
        self.revision = resolve_model(ModelConfig(source=str(model))).revision

    def champion(self, which: int, **generate: Any) -> Champion:
        return Champion(
            adapter=self.ids[which],
            template=TEMPLATE,
            turns="chatml",
            generate={"max_new_tokens": NEW_TOKENS} | generate,
        )

    def promote(self, which: int, **generate: Any) -> None:
        log = Champions(self.store, self.revision)
        assert log.promote(self.champion(which, **generate), "score-00000000", "test")

    def roll_back(self) -> None:
        Champions(self.store, self.revision).roll_back("test")


@contextmanager
def running(config: ServeConfig, answers: bool = True) -> Iterator[str]:
    """A server on a free port, in a thread; its address. answers: wait until its champion is loaded."""
    import httpx

    (port,) = free_ports(1)
    server = uvicorn.Server(uvicorn.Config(application(config), port=port, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: server.started and (not answers or httpx.get(f"{url}/health").status_code == 200), "the server")
        yield url
    finally:
        server.should_exit = True
        thread.join()


def ask(dialogue: str = DIALOGUE, **more: Any) -> dict[str, Any]:
    """The body of a request."""
    return {"messages": [{"role": "user", "content": dialogue}]} | more

"""Limits of the endpoint, clients that go away, and changes of the champion under requests."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.serving import application as module
from flows.serving.application import application
from flows.serving.inference_engine import Generation, GenerationRequest, Weights
from tests.support.serving import TwoAdapters, ask, config_for, limits


class SlowEngine:
    """Says the name of its adapter, letter by letter, when it may."""

    name = "slow"

    def __init__(self) -> None:
        self.proceed, self.running, self.loads = asyncio.Event(), 0, list[str]()
        self.load_seconds = 0.0

    def load(self, selected: Any) -> Weights:
        import time

        time.sleep(self.load_seconds)
        from tasks.models.loading import load_tokenizer

        self.loads.append(selected.name.rsplit(" ", 1)[-1])
        return Weights(load_tokenizer(selected.spec.model), 2048, self.loads[-1])

    async def generate(
        self, weights: Weights, spec: Any, request: GenerationRequest
    ) -> AsyncGenerator[Generation, None]:
        self.running += 1
        try:
            yield Generation(weights.model[:1], 1)
            await self.proceed.wait()
            yield Generation(weights.model, 2, "stop_token")
        finally:
            self.running -= 1

    def unload(self, weights: Weights) -> None: ...

    def close(self) -> None: ...


@asynccontextmanager
async def slow_server(
    adapters: TwoAdapters, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, SlowEngine, Any]]:
    """A client of an application in this event loop, its engine, and its endpoint."""
    engine = SlowEngine()
    monkeypatch.setattr(module, "create_engine", lambda name, rows: engine)
    app = application(config_for(adapters.model, **options))
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
    ):
        yield client, engine, app.state.chat


async def until_running(engine: SlowEngine, count: int) -> None:
    async with asyncio.timeout(30):
        while engine.running != count:
            await asyncio.sleep(0.01)


PATH = "/v1/chat/completions"


def test_requests_finish_with_the_model_they_began_with(adapters: TwoAdapters, monkeypatch: pytest.MonkeyPatch) -> None:
    """A promotion under way changes only those that come later, and a rollback too; loading stops nobody."""

    async def scenario() -> list[str]:
        async with slow_server(adapters, monkeypatch) as (client, engine, _):
            first = asyncio.create_task(client.post(PATH, json=ask()))
            await until_running(engine, 1)
            adapters.promote(1)
            second = asyncio.create_task(client.post(PATH, json=ask()))
            await until_running(engine, 2)
            adapters.roll_back()
            third = asyncio.create_task(client.post(PATH, json=ask()))
            await until_running(engine, 3)
            engine.proceed.set()
            answers = [(await task).json() for task in (first, second, third)]
            assert [a["model"] for a in answers] == [a["choices"][0]["message"]["content"] for a in answers]
            return [answer["model"] for answer in answers]

    first, second = adapters.ids
    assert asyncio.run(scenario()) == [first, second, first]


def test_at_most_so_many_models_are_loaded(adapters: TwoAdapters, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was not used for the longest time is freed; a request waits while all are used."""

    async def scenario() -> None:
        async with slow_server(adapters, monkeypatch, limits=limits(models=2)) as (client, engine, chat):
            tasks = [
                asyncio.create_task(client.post(PATH, json=ask(model=name)))
                for name in (adapters.ids[0], adapters.ids[1])
            ]
            await until_running(engine, 2)
            waiting = asyncio.create_task(client.post(PATH, json=ask(model="base")))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            assert len(chat.cache._entries) == 2
            engine.proceed.set()
            assert [(await task).status_code for task in [*tasks, waiting]] == [200, 200, 200]
            assert len(chat.cache._entries) == 2

    asyncio.run(scenario())


def test_limits_are_refused_with_what_they_are(adapters: TwoAdapters, monkeypatch: pytest.MonkeyPatch) -> None:
    """413, 415, 405, 429 with Retry-After, 408, and 503 while the server is stopped."""

    async def scenario() -> None:
        own = limits(body_bytes=300, requests=1, seconds=1.5)
        async with slow_server(adapters, monkeypatch, limits=own) as (client, engine, chat):
            large = await client.post(PATH, json=ask("x" * 400))
            assert (large.status_code, "300 bytes" in large.text) == (413, True)

            async def chunks() -> AsyncIterator[bytes]:
                for _ in range(40):
                    yield b"x" * 10

            large = await client.post(PATH, content=chunks(), headers={"content-type": "application/json"})
            assert large.status_code == 413
            assert (await client.post(PATH, content=json.dumps(ask()))).status_code == 415
            assert (await client.get(PATH)).status_code == 405
            first = asyncio.create_task(client.post(PATH, json=ask()))
            await until_running(engine, 1)
            full = await client.post(PATH, json=ask())
            assert (full.status_code, full.headers["retry-after"]) == (429, "1")
            assert full.json()["error"]["code"] == "rate_limit_exceeded"
            late = await first
            assert (late.status_code, late.json()["error"]["code"]) == (408, "timeout")
            await until_running(engine, 0)
            cut = await client.post(PATH, json=ask(stream=True))
            assert cut.status_code == 200  # it had begun: the error is an event
            assert '"code": "timeout"' in cut.text
            assert "[DONE]" not in cut.text
            chat.draining = True
            assert (await client.post(PATH, json=ask())).status_code == 503
            assert (await client.get("/health")).status_code == 503

    asyncio.run(scenario())


def test_a_client_that_goes_away_frees_its_place(adapters: TwoAdapters, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it waits for a whole answer or reads a stream: its generation ends."""

    async def scenario(stream: bool) -> None:
        async with slow_server(adapters, monkeypatch) as (_, engine, chat):
            body, gone = json.dumps(ask(stream=stream)).encode(), asyncio.Event()
            messages = [{"type": "http.request", "body": body, "more_body": False}]

            async def receive() -> Any:
                if messages:
                    return messages.pop()
                await gone.wait()
                return {"type": "http.disconnect"}

            async def send(message: Any) -> None: ...

            scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
            request = asyncio.create_task(chat(scope, receive, send))
            await until_running(engine, 1)
            assert chat.in_progress == 1
            gone.set()
            await request
            assert (engine.running, chat.in_progress) == (0, 0)

    for stream in (False, True):
        asyncio.run(scenario(stream))


def test_a_failure_inside_is_logged_and_not_told(
    adapters: TwoAdapters, monkeypatch: pytest.MonkeyPatch, models: dict[str, Path]
) -> None:
    async def scenario() -> Any:
        async with slow_server(adapters, monkeypatch) as (client, engine, _):

            async def fail(*_: Any) -> AsyncGenerator[Generation, None]:
                raise ZeroDivisionError("secret")
                yield

            monkeypatch.setattr(engine, "generate", fail)
            return await client.post(PATH, json=ask())

    answer = asyncio.run(scenario())
    assert (answer.status_code, "secret" in answer.text) == (500, False)
    assert answer.json()["error"]["type"] == "server_error"

"""`POST /v1/chat/completions`: admission, limits, and the response whole or as a stream of events."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from artifacts.text import one_line
from flows.serving import metrics
from flows.serving.api_errors import ApiError
from flows.serving.chat_request import ChatRequest, parse_chat_request
from flows.serving.completions import Completion, event
from flows.serving.config import Limits
from flows.serving.inference_engine import InferenceEngine, Weights
from flows.serving.model_cache import ModelCache
from flows.serving.models import ALIASES, Models, ServedModel, champion_unavailable
from flows.serving.summaries import Usage, summarize

LOG = logging.getLogger("dialogsum.serve")


class ClientGoneError(Exception):
    """The client closed the connection before the response was complete."""


class ChatEndpoint:
    """An ASGI application, so that one coroutine holds a request's place until its last byte is sent."""

    def __init__(self, models: Models, cache: ModelCache, engine: InferenceEngine, limits: Limits) -> None:
        self.models, self.cache, self.engine, self.limits = models, cache, engine, limits
        self.in_progress = 0
        self.draining = False
        """Whether the server is being stopped: it takes no more requests."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = _Response(scope, receive, send)
        started, label, status = time.monotonic(), "champion", 200
        try:
            with self._admitted():
                async with asyncio.timeout(self.limits.seconds):
                    request = parse_chat_request(await self._body(Request(scope, receive)))
                    label = request.model if request.model in ALIASES else "adapter"
                    await _until_disconnected(self._answer(request, response), receive)
        except ClientGoneError:
            status = 499
        except Exception as error:
            refusal = self._refusal(error)
            status = refusal.status
            await response.refuse(refusal)
        metrics.REQUESTS.labels(label, status).inc()
        metrics.REQUEST_SECONDS.labels(label).observe(time.monotonic() - started)

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        """A place among the requests under way. ApiError 503 or 429 if there is none."""
        if self.draining:
            raise ApiError(503, "the server is being stopped", code="draining", retry_after=1)
        if self.in_progress >= self.limits.requests:
            raise ApiError(
                429,
                f"{self.in_progress} requests are under way, the most that this server takes: try again later",
                code="rate_limit_exceeded",
                retry_after=1,
            )
        self.in_progress += 1
        metrics.IN_PROGRESS.set(self.in_progress)
        try:
            yield
        finally:
            self.in_progress -= 1
            metrics.IN_PROGRESS.set(self.in_progress)

    async def _body(self, request: Request) -> bytes:
        if request.method != "POST":
            raise ApiError(405, "use POST")
        # a page of another site cannot send this type without asking first
        if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            raise ApiError(415, "the content type is not application/json")
        most, body = self.limits.body_bytes, bytearray()
        declared = request.headers.get("content-length", "0")
        too_large = ApiError(413, f"the request is larger than {most:,} bytes: shorten the dialogue")
        if declared.isdigit() and int(declared) > most:
            raise too_large
        async for part in request.stream():
            body += part
            if len(body) > most:
                raise too_large
        return bytes(body)

    async def _answer(self, request: ChatRequest, response: "_Response") -> None:
        served = await self.models.find(request.model, request.prompt)
        completion = Completion(served, Usage(), request.include_usage)
        async with self._weights(request.model, served) as weights:
            updates = summarize(request, self.engine, weights, served.selected.spec, completion.usage)
            async with aclosing(updates):
                text, stop = "", ""
                async for update in updates:
                    if request.stream:
                        await response.stream(completion.chunk(update, first=not response.started), completion)
                    text, stop = text + update.text, update.stop
        if request.stream:
            await response.end(completion.end())
        else:
            await response.whole(completion.whole(text, stop), completion)
        metrics.TOKENS.labels("prompt").inc(completion.usage.prompt)
        metrics.TOKENS.labels("completion").inc(completion.usage.completion)

    @asynccontextmanager
    async def _weights(self, name: str, served: ServedModel) -> AsyncIterator[Weights]:
        """The loaded model. ApiError 503 if it cannot be loaded."""
        loaded = False
        try:
            async with self.cache.use(served.artifact, served.selected) as weights:
                loaded = True
                yield weights
        except Exception as error:
            if loaded:
                raise
            if name == "champion":
                raise champion_unavailable(error) from error
            raise ApiError(503, f"{served.artifact} cannot be loaded: {one_line(error, 300)}", param="model") from error

    def _refusal(self, error: Exception) -> ApiError:
        """How an error is told to the client; details of one that is not the client's stay in the log."""
        if isinstance(error, ApiError):
            return error
        if isinstance(error, TimeoutError):
            message = f"no complete answer within {self.limits.seconds:g} s: try again later"
            return ApiError(408, message, code="timeout", retry_after=1)
        LOG.error("a request failed: %s", one_line(f"{type(error).__name__}: {error}"), exc_info=error)
        return ApiError(500, "the summary failed: the server's log says why")


class _Response:
    """Sends one response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        self.started = False

    async def whole(self, content: dict[str, Any], completion: Completion) -> None:
        self.started = True
        await JSONResponse(content, headers=completion.headers)(self.scope, self.receive, self.send)

    async def stream(self, chunk: bytes, completion: Completion) -> None:
        """Send an event; before the first one, the headers."""
        if not self.started:
            self.started = True
            headers = {"content-type": "text/event-stream; charset=utf-8", "x-accel-buffering": "no"}
            encoded = [(name.encode(), value.encode()) for name, value in (headers | completion.headers).items()]
            await self.send({"type": "http.response.start", "status": 200, "headers": encoded})
        await self.send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self, chunk: bytes) -> None:
        await self.send({"type": "http.response.body", "body": chunk})

    async def refuse(self, error: ApiError) -> None:
        """An error response; after the headers of a stream, an event, which clients of OpenAI raise."""
        if self.started:
            await self.end(event(error.content))
        else:
            await error.response(self.scope, self.receive, self.send)


async def _until_disconnected(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do the work, or stop it when the client closes the connection: ClientGoneError."""

    async def disconnected() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    tasks = [asyncio.create_task(work), asyncio.create_task(disconnected())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise ClientGoneError
        await tasks[0]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

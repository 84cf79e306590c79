"""The server's application: OpenAI's endpoints, health, metrics and a page to try it.

/                      a page to paste a dialogue into
/v1/chat/completions   one dialogue -> its summary
/v1/models             the names of models
/health                200 if the champion answers, otherwise 503 and why
/metrics               Prometheus
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flows.listening import SERVE_TOKEN, credential_for, own_names
from flows.own_pages import OwnPages
from flows.serving import metrics
from flows.serving.api_errors import ApiError
from flows.serving.chat_endpoint import ChatEndpoint
from flows.serving.config import ServeConfig
from flows.serving.engine_choice import create_engine
from flows.serving.model_cache import ModelCache
from flows.serving.models import Models
from flows.serving.page import render_page

OPEN_PATHS = ("/", "/health")
"""What needs no token: a page without data, and a state without names."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def application(config: ServeConfig) -> Starlette:
    """The server. RequestError if its recipe, its engine or its token is missing."""
    token = credential_for(config.host, SERVE_TOKEN)
    engine = create_engine(config.engine, config.limits.requests)
    cache = ModelCache(engine, config.limits.models)
    models = Models(config, cache)
    chat = ChatEndpoint(models, cache, engine, config.limits)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(models.keep_champion_loaded())
        yield
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await run_in_threadpool(engine.close)

    def health(request: Request) -> Response:
        problem = "the server is being stopped" if chat.draining else models.problem
        state: dict[str, Any] = {"status": "unavailable" if problem else "ok", "draining": chat.draining}
        if not token:  # names and reasons are not for everybody
            state |= {"problem": problem, "champion": models.champion, "engine": engine.name}
        return JSONResponse(state, 503 if problem else 200)

    def models_list(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_model(name) for name in models.names()]})

    def one_model(request: Request) -> Response:
        name = request.path_params["model"]
        if name not in models.names():
            raise ApiError(404, "no such model: /v1/models lists them", param="model", code="model_not_found")
        return JSONResponse(_model(name))

    def page(request: Request) -> Response:
        html, policy = render_page([] if token else models.names()[-50:], bool(token))
        return HTMLResponse(html, headers={"Content-Security-Policy": policy})

    app = Starlette(
        routes=[
            Route("/", page),
            Route("/health", health),
            Route("/metrics", lambda request: Response(metrics.exposition(), media_type=metrics.CONTENT_TYPE)),
            Route("/v1/models", models_list),
            Route("/v1/models/{model}", one_model),
            Route("/v1/chat/completions", chat),
        ],
        middleware=[
            *_for_browsers(config, token),
            Middleware(Guard, token=token),
        ],
        exception_handlers={ApiError: _refused, HTTPException: _not_found},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # a path is right or unknown
    app.state.chat = chat
    return app


class Guard:
    """Asks for the token and adds the security headers."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.expected = app, f"Bearer {token}".encode() if token else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        given = Headers(scope=scope).get("authorization", "").encode()
        if self.expected and scope["path"] not in OPEN_PATHS and not secrets.compare_digest(given, self.expected):
            error = ApiError(401, "the bearer token is missing or wrong", code="invalid_api_key")
            await error.response(scope, receive, send_with_headers)
        else:
            await self.app(scope, receive, send_with_headers)


def _for_browsers(config: ServeConfig, token: str) -> list[Middleware]:
    """What the loopback interface needs beside the token: other host names are refused (DNS rebinding).

    Without a token also the requests of other servers' pages; with one, a reverse proxy may have the page's origin.
    """
    if not config.loopback:
        return []
    names = own_names(config.host)
    if token:
        return [Middleware(TrustedHostMiddleware, allowed_hosts=names)]
    return [Middleware(OwnPages, names=names)]


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "dialogsum"}


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error.response


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return ApiError(error.status_code, f"{request.method} {request.url.path}: {error.detail}").response

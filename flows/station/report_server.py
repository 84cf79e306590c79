"""The report server of the station: the reports and artifacts of the store over http, read-only.

/                  the reports, newest first
/report/<id>       one report, as it lies in the store
/artifact/<id>     an artifact: what it was made from, what was found, its files, its manifest
/health            whether the station and its store are fine, as JSON: 200 or 503
/live              `true`, as long as this server works

`dialogsum station up` starts it as `python -m flows.station.report_server HOST PORT`. It reads the store
that DIALOGSUM_STORE names, local or remote, and verifies every file that it serves. If PREFECT_SERVER_API_AUTH_STRING
is set, it requires that credential.
"""

import sys
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import uvicorn
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from artifacts.artifact_store import DamageError, Store
from artifacts.errors import RequestError, StageError
from artifacts.manifest import Manifest
from artifacts.text import one_line
from flows.listening import PREFECT_CREDENTIAL, credential_for, is_loopback, own_names
from flows.station.health import CachedStatus
from flows.station.server_credential import is_authorized
from tasks.manifest_views import ReportView, ScoresView
from tasks.reporting import artifact_page
from tasks.reporting.escaping import visible

OPEN_PATHS = ("/health", "/live")
"""Paths that need no credential."""
MOST = 200
"""Reports that the index lists."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
NOTHING = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# the script of a report is bound to its hash by the policy inside the file; here it gets an origin of its own
OF_REPORT = f"{NOTHING}; script-src 'unsafe-inline'; sandbox allow-scripts allow-forms allow-modals"
FOLDERS = (Path(__file__).resolve().parent, Path(artifact_page.__file__).resolve().parent)
PAGES = Environment(
    loader=FileSystemLoader(FOLDERS), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=True
)
PAGES.filters |= {"visible": visible}
Answer = Callable[[Request], Awaitable[Response]]


def index(request: Request) -> Response:
    """The reports of the store, newest first."""
    store = Store.current()
    reports = store.latest("report", MOST)[: -MOST - 1 : -1]
    scores = {m.id: m for m in store.manifests("score", {ref.id for m in reports for ref in m.inputs.values()})}
    rows = [_row(m, scores.get(ReportView(m).scores_id)) for m in reports if "scores" in m.inputs]
    return _page("index", rows=rows, most=MOST, store=store.backend.name)


def report(request: Request) -> Response:
    """The HTML of a report artifact."""
    manifest = _manifest(request)
    if "report.html" not in manifest.files:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"{manifest.id} is no report; see /artifact/{manifest.id}")
    content = (Store.current().payload(manifest.path) / "report.html").read_bytes()
    return HTMLResponse(content, headers={"Content-Security-Policy": OF_REPORT})


def artifact(request: Request) -> Response:
    """A page about an artifact."""
    manifest, store = _manifest(request), Store.current()
    inputs = {ref.id for ref in manifest.inputs.values()}
    stages = {name.rsplit("-", 1)[0] for name in inputs}
    return _page(
        "artifact",
        manifest=manifest,
        place=store.absolute(manifest.path),
        known={m.id for stage in stages for m in store.manifests(stage, inputs)},
        findings=[*artifact_page.origins(manifest), *artifact_page.findings(manifest)],
        heading=artifact_page.heading(manifest),
        json=manifest.model_dump_json(indent=1),
    )


def live(request: Request) -> Response:
    """The same response as that of the Prefect server's /health."""
    return PlainTextResponse("true", media_type="application/json")


def health(request: Request) -> Response:
    """The record of `dialogsum status` with 200, or 503 if there is a problem; strangers only get its `ok`."""
    try:
        content = request.app.state.status.get().model_dump(mode="json")
    except Exception as error:  # what keeps the status from being computed is a problem of the station
        content = {
            "ok": False,
            "problems": [f"the status is unknown: {one_line(f'{type(error).__name__}: {error}', 300)}"],
        }
    known = _is_authorized(request)
    status = HTTPStatus.OK if content["ok"] else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse(content if known else {"ok": content["ok"]}, status)


def _manifest(request: Request) -> Manifest:
    """The artifact that a path names; 404 unless it is an id of one in the store."""
    try:
        return Store.current().by_id(request.path_params["artifact"])
    except RequestError as error:
        raise HTTPException(HTTPStatus.NOT_FOUND, one_line(error, 300)) from error


def _row(manifest: Manifest, scores: Manifest | None) -> dict[str, Any]:
    """A report as the index lists it; its scores are ROUGE-1 F1 x 100 under the headline protocol, by system."""
    adapter, headline = ReportView(manifest).adapter_id, (ScoresView(scores).headline if scores else {})
    return {
        "id": manifest.id,
        "head": manifest.facts.get("verdict", {}).get("head", manifest.id),
        "at": manifest.provenance.at[:16].replace("T", " "),
        "recipe": manifest.provenance.origin.get("recipe", ""),
        "adapter": adapter,
        "scores": {name: scores["rouge1"] for name, scores in headline.items()},
    }


def _page(name: str, status: int = 200, **content: Any) -> Response:
    html = getattr(PAGES.get_template("report_server.html.j2").module, name)(**content)
    return HTMLResponse(str(html), status, headers={"Content-Security-Policy": NOTHING})


async def _failed(request: Request, error: Exception) -> Response:
    """One line of what is wrong, and the way back to the list."""
    if isinstance(error, HTTPException):
        return _page("message", error.status_code, text=error.detail)
    return _page("message", HTTPStatus.INTERNAL_SERVER_ERROR, text=one_line(error))


async def _guarded(request: Request, answer: Answer) -> Response:
    """Add the security headers to every response; respond 401 without the credential of the Prefect server."""
    if request.url.path not in OPEN_PATHS and not _is_authorized(request):
        response = await _failed(
            request, HTTPException(HTTPStatus.UNAUTHORIZED, "The credential of the Prefect server is needed.")
        )
        response.headers["WWW-Authenticate"] = 'Basic realm="dialogsum", charset="UTF-8"'
    else:
        response = await answer(request)
    response.headers.update(HEADERS)
    return response


def _is_authorized(request: Request) -> bool:
    return is_authorized(request.headers.get("Authorization", ""))


def application(host: str) -> Starlette:
    """The server on `host`. On the loopback interface it refuses other host names (DNS rebinding).

    RequestError if other machines reach it without a credential.
    """
    credential_for(host, PREFECT_CREDENTIAL)
    names = own_names(host) if is_loopback(host) else ["*"]
    app = Starlette(
        routes=[
            Route("/", index),
            Route("/health", health),
            Route("/live", live),
            Route("/report/{artifact}", report),
            Route("/artifact/{artifact}", artifact),
        ],
        middleware=[
            Middleware(BaseHTTPMiddleware, dispatch=_guarded),
            Middleware(TrustedHostMiddleware, allowed_hosts=names),
        ],
        exception_handlers={HTTPException: _failed, DamageError: _failed, RequestError: _failed, StageError: _failed},
    )
    app.state.status = CachedStatus()
    app.router.redirect_slashes = False  # a path is right or unknown
    return app


if __name__ == "__main__":
    uvicorn.run(
        application(sys.argv[1]), host=sys.argv[1], port=int(sys.argv[2]), access_log=False, server_header=False
    )

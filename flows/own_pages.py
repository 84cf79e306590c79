"""Protects a server without a credential from web pages of others, which a browser on this machine may have open."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class OwnPages:
    """Refuses other host names (DNS rebinding), and requests and WebSockets of pages from elsewhere (CSRF).

    Browsers name the page's origin in every request that a page of another origin makes, unless it only reads: then
    the page does not get the response.
    """

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        """names: the host names of this server."""
        self.names = names
        self.app, self.checked = app, TrustedHostMiddleware(self._same_origin, allowed_hosts=names, www_redirect=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.checked(scope, receive, send)

    async def _same_origin(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and not self._own(Headers(scope=scope)):
            await PlainTextResponse("a page of another server sent this request", 403)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _own(self, headers: Headers) -> bool:
        if (origin := headers.get("origin")) is None:
            return True
        try:
            page, server = urlsplit(origin), urlsplit(f"//{headers.get('host', '')}")
            name = page.netloc.removesuffix(f":{page.port}")
            return name in self.names and page.port == server.port
        except ValueError:
            return False

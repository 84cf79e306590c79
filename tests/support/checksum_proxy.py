"""An S3 server that refuses S3's newer checksum headers: a real one behind an HTTP proxy."""

import http.client
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple


class Refusal(NamedTuple):
    """How a request with such a header is answered, and which headers are refused."""

    status: int
    code: str
    message: str
    headers: tuple[str, ...] = ("x-amz-checksum-", "x-amz-sdk-checksum-algorithm", "x-amz-trailer")
    """Beginnings of their names."""

    @property
    def body(self) -> bytes:
        return f"<Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>".encode()


class ChecksumProxy:
    """Forwards every request to the server at `target` unless it has a refused header."""

    def __init__(self, target: str, refusal: Refusal) -> None:
        self.target, self.refusal = urllib.parse.urlsplit(target).netloc, refusal
        self.refused: list[str] = []
        """Method and headers of the refused requests."""

    def __enter__(self) -> "ChecksumProxy":
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_request(self) -> None:
                proxy.handle(self)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request  # noqa: N815

            def log_message(self, *arguments: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        content = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        names = [name.lower() for name in request.headers if name.lower().startswith(self.refusal.headers)]
        if names:
            self.refused.append(f"{request.command} {' '.join(names)}")
            self._reply(request, self.refusal.status, {}, self.refusal.body)
            return
        connection = http.client.HTTPConnection(self.target, timeout=60)
        # with the Host of the proxy, which is part of the signature
        connection.request(request.command, request.path, content, dict(request.headers))
        answer = connection.getresponse()
        self._reply(request, answer.status, dict(answer.headers), answer.read())
        connection.close()

    def _reply(self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
        request.send_response(status)
        length = headers.get("Content-Length", "") if request.command == "HEAD" else ""
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "server", "date"):
                request.send_header(name, value)
        request.send_header("Content-Length", length or str(len(body)))
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)

"""A local hub for HF_ENDPOINT with one model, which fails as `faults` lists."""

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

COMMIT = "5" * 40
HANGS, CUT, OTHER = 1, 2, 3
"""Instead of a status: no answer for a while; half of the bytes; other bytes, as many."""
KINDS = {
    "auth": re.compile(r"/api/models/owner/model/auth-check"),
    "tree": re.compile(r"/api/models/owner/model/tree/.*"),
    "info": re.compile(r"/api/models/owner/model(/revision/.*)?"),
    "file": re.compile(r"/owner/model/resolve/[^/]+/(?P<name>.+)"),
}


class Hub:
    """`faults["info"] = [503, 503]`: the first two requests for info are answered so; -1 at the end means all."""

    def __init__(self, folder: Path) -> None:
        self.files = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
        self.faults: dict[str, list[int]] = {}
        self.code, self.headers = "", dict[str, str]()
        self.requests: Counter[str] = Counter()
        self.seen: list[str] = []
        """The Authorization headers received."""

    def fault(self, kind: str) -> int:
        due = self.faults.get(kind, [])
        if due[1:] == [-1]:
            return due[0]
        return due.pop(0) if due else 200

    def digest(self, name: str) -> str:
        """The hub's id of a file: git's digest if it is small, sha256 if it is large."""
        content = self.files[name]
        if name.endswith(".safetensors"):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def tree(self) -> list[dict[str, object]]:
        entries: list[dict[str, object]] = []
        for name, content in self.files.items():
            entry: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
            if name.endswith(".safetensors"):
                entry["lfs"] = {"oid": self.digest(name), "size": len(content), "pointerSize": 134}
            else:
                entry["oid"] = self.digest(name)
            entries.append(entry)
        return entries


def handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            kind, match = next(((k, m) for k, p in KINDS.items() if (m := p.fullmatch(path))), ("other", None))
            if self.command == "GET" or kind != "file":
                hub.requests[kind] += 1
            hub.seen.append(self.headers.get("Authorization", ""))
            fault = 200 if kind == "file" and self.command == "HEAD" else hub.fault(kind)
            if fault == HANGS:
                time.sleep(6)
            if fault >= 400:
                self.reply(
                    f"not today, {self.headers.get('Authorization')}".encode(),
                    fault,
                    hub.headers | {"X-Error-Code": hub.code},
                )
            elif kind == "other":
                self.reply(b"", 404, {"X-Error-Code": "RepoNotFound"})
            elif kind == "file" and match:
                self.file(match["name"], fault)
            else:
                about = {
                    "id": "owner/model",
                    "sha": COMMIT,
                    "private": False,
                    "downloads": 0,
                    "likes": 0,
                    "tags": [],
                    "siblings": [{"rfilename": name} for name in hub.files],
                }
                self.reply(json.dumps(hub.tree() if kind == "tree" else about if kind == "info" else {}).encode())

        do_HEAD = do_GET  # noqa: N815

        def file(self, name: str, fault: int) -> None:
            content = hub.files[name]
            headers = {
                "ETag": f'"{hub.digest(name)}"',
                "X-Repo-Commit": COMMIT,
                "X-Linked-Etag": f'"{hub.digest(name)}"',
                "X-Linked-Size": str(len(content)),
            }
            if fault == OTHER:
                content = bytes([content[0] ^ 1]) + content[1:-1] + bytes([content[-1] ^ 1])
            self.reply(content, 200, headers, truncated=fault == CUT)

        def reply(
            self, content: bytes, status: int = 200, headers: dict[str, str] | None = None, truncated: bool = False
        ) -> None:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content[: len(content) // 2] if truncated else content)
            self.close_connection = truncated

        def log_message(self, *arguments: object) -> None:
            """Keep requests out of standard error."""

    return Handler


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """Serve the hub; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(hub))
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # who waits no longer has closed the connection
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()

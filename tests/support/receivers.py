"""Servers that receive announcements by HTTP, as a Teams workflow, and by mail, on free ports of this machine."""

import email
import json
import socketserver
import ssl
import threading
from datetime import UTC, datetime, timedelta
from email import policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class HttpReceiver:
    """Keeps the JSON of every POST; `status` is what it answers."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if receiver.status == 200:
                    receiver.messages.append(content)
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing: the output of a test is its result."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:pass-of-the-tests@127.0.0.1:{self._server.server_address[1]}/hook"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class TeamsReceiver(HttpReceiver):
    """Receives by TLS what Apprise sends to a Teams workflow."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(_certificate(folder / "certificate.pem"))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        port = self._server.server_address[1]
        self.url = f"workflows://127.0.0.1:{port}/643e69f83c8944438d68119179a10a64/sig-of-the-tests/?verify=no"


class MailReceiver:
    """Accepts every mail, by the few commands of SMTP that a client needs."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, str]] = []
        """(subject, text) of each."""
        receiver = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self._answer("220 ready")
                while line := self.rfile.readline().decode().strip().upper():
                    if line.startswith("DATA"):
                        self._answer("354 go on")
                        lines = list(iter(self.rfile.readline, b".\r\n"))
                        receiver.mails.append(_read(b"".join(lines)))
                        self._answer("250 accepted")
                    elif line.startswith("QUIT"):
                        self._answer("221 bye")
                        return
                    else:
                        self._answer("250 ok")

            def _answer(self, line: str) -> None:
                self.wfile.write(f"{line}\r\n".encode())

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.url = f"mailto://127.0.0.1:{self._server.server_address[1]}?from=station@example.org&to=team@example.org"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _read(content: bytes) -> tuple[str, str]:
    message = email.message_from_bytes(content, policy=policy.default)
    body = message.get_body(("plain", "html"))
    return str(message["Subject"]), str(body.get_content()) if body else ""


def _certificate(file: Path) -> Path:
    """A key and a certificate that it signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return file

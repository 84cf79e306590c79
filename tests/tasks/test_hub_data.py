"""A hub dataset is read from the complete, verified files of its commit, online and offline."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.support.paths import ROOT

OLD, NEW, NEWEST, ODD = "a" * 40, "b" * 40, "c" * 40, "d" * 40
SPLITS = ("train-00000-of-00002", "train-00001-of-00002", "validation", "test")


def files(word: str) -> dict[str, bytes]:
    """A dataset of three rows a file, two files of training rows, whose summaries begin with `word`."""
    return {
        f"{name}.csv": "".join(
            [
                "id,dialogue,summary,topic\n",
                *(f"{name}_{n}_1,#Person1#: {n},{word} {name} {n},talk\n" for n in range(3)),
            ]
        ).encode()
        for name in SPLITS
    }


ODD_ROWS = [["0001", "#Person1#: null", "NA", "007"], ["0002", "#Person1#: 1.50", "None", "null"]]
"""Words and numbers that pandas would take for nothing or for other numbers."""
FILES = {OLD: files("old"), NEW: files("new"), NEWEST: files("newest")} | {
    ODD: dict.fromkeys(
        (f"{split}.csv" for split in ("train", "validation", "test")),
        "\n".join(["id,dialogue,summary,topic", *map(",".join, ODD_ROWS), ""]).encode(),
    )
}


class Hub(BaseHTTPRequestHandler):
    """The dataset `owner/data`, of three commits; `main` is the newest."""

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        match = re.fullmatch(r"(?:/api)?/datasets/owner/data(?:/(revision|tree|resolve)/([^/]+))?(?:/(.+))?", path)
        commit = {None: NEWEST, "main": NEWEST}.get(match[2], match[2]) if match else None
        content = FILES.get(commit or "", {})
        if match and match[1] == "resolve" and match[3] in content:
            self._answer(
                content[match[3]], ETag=f'"{self._digest(content[match[3]])}"', **{"X-Repo-Commit": str(commit)}
            )
        elif match and match[1] == "tree" and not match[3]:
            entries = [{"type": "file", "path": p, "size": len(b), "oid": self._digest(b)} for p, b in content.items()]
            self._answer(json.dumps(entries).encode())
        elif match and match[3] == "auth-check":
            self._answer(b"{}")
        elif match and match[1] in (None, "revision") and not match[3]:
            about = {"id": "owner/data", "sha": commit, "private": False, "downloads": 0, "likes": 0, "tags": []}
            self._answer(json.dumps(about | {"siblings": [{"rfilename": name} for name in content]}).encode())
        else:
            self._answer(b"", 404, **{"X-Error-Code": "EntryNotFound"})

    do_HEAD = do_GET  # noqa: N815

    def _digest(self, content: bytes) -> str:
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    def _answer(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None: ...


@contextmanager
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


READ = """
import json, sys
from artifacts.errors import RequestError
from tasks.config import DataConfig
from tasks.download import read
from tasks.sources.resolve import resolve_data
def of(revision):
    try:
        data = resolve_data(DataConfig(source="owner/data", revision=revision))
        return list(read(data, "train"))
    except RequestError as refused:
        return str(refused)
print(json.dumps([of(revision) for revision in sys.argv[1:]]))
"""


def read(home: Path, *revisions: str, **environment: str) -> list[Any]:
    """The training rows of each revision, or the refusal; in a process of its own, which alone has this cache."""
    process = subprocess.run(
        [sys.executable, "-c", READ, *revisions],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "HF_HOME": str(home), "HF_TOKEN": "", "HF_HUB_DISABLE_XET": "1"}
        | environment,
    )
    assert (process.returncode, process.stderr) == (0, "")
    tables: list[Any] = json.loads(process.stdout)
    return tables


@pytest.fixture(scope="module")
def cached(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that holds every commit, each loaded once online."""
    home = tmp_path_factory.mktemp("hf")
    with hub() as url:
        tables = read(home, OLD, NEW, NEWEST, HF_ENDPOINT=url, HF_HUB_OFFLINE="0")
    assert tables == [rows("old"), rows("new"), rows("newest")]
    return home


def rows(word: str) -> list[list[str]]:
    return [[f"{name}_{n}_1", f"#Person1#: {n}", f"{word} {name} {n}", "talk"] for name in SPLITS[:2] for n in range(3)]


def snapshot(home: Path, commit: str) -> Path:
    return home / "hub" / "datasets--owner--data" / "snapshots" / commit


def test_words_and_numbers_are_read_to_the_letter(tmp_path: Path) -> None:
    """As from a folder with the same files."""
    with hub() as url:
        assert read(tmp_path, ODD, HF_ENDPOINT=url, HF_HUB_OFFLINE="0") == [ODD_ROWS]


@pytest.mark.slow
def test_offline_each_commit_has_its_own_rows(cached: Path) -> None:
    """In either order, whichever was loaded last, and also where `datasets` is set offline by its own variable."""
    assert read(cached, OLD, NEW, OLD, HF_DATASETS_OFFLINE="1") == [rows("old"), rows("new"), rows("old")]


@pytest.mark.slow
def test_a_commit_that_is_incomplete_in_the_cache_is_refused(cached: Path) -> None:
    """One file has other bytes than the hub's digest, one is missing, one commit has no list of its files to check."""
    changed = snapshot(cached, OLD) / "test.csv"
    changed.resolve().write_bytes(changed.read_bytes().replace(b"old test", b"odd test"))
    (snapshot(cached, NEW) / "train-00001-of-00002.csv").unlink()
    (snapshot(cached, NEWEST).parents[1] / "trees" / f"{NEWEST}.json").unlink()
    of_changed, of_missing, of_unlisted = read(cached, OLD, NEW, NEWEST)
    assert "test.csv of owner/data does not match its digest on the hub" in of_changed
    assert "cannot fetch owner/data" in of_missing
    assert f"owner/data@{NEWEST[:8]} may be incomplete in the cache" in of_unlisted
    assert not changed.exists()  # so that it is fetched again

"""Logs of a station stay within bounds while their processes write, and no error in them is forgotten."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from flows.station import log_rotation
from flows.station.log_rotation import KEPT, LIMIT, rotate, rotate_logs
from flows.station.server_log import read_errors

WRITER = "import sys; [print(line.strip(), flush=True) for line in sys.stdin]"


def test_a_process_goes_on_writing_into_its_emptied_log(tmp_path: Path) -> None:
    """The process keeps its file open all the while; every line that it has written is in one of the files, once."""
    log = tmp_path / "server.log"
    filler = "x" * (LIMIT // 4)
    with log.open("a") as out:
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER], stdin=subprocess.PIPE, stdout=out, text=True, bufsize=1
        )
    assert process.stdin is not None
    size = 0
    for number in range(20):
        line = f"{number} {filler}\n"
        process.stdin.write(line)
        size += len(line)
        while log.stat().st_size < size:
            assert process.poll() is None
        if rotate_logs(tmp_path):
            size = 0
            assert log.stat().st_size == 0
    process.communicate()
    files = [tmp_path / f"server.log.{n}" for n in range(KEPT, 0, -1)] + [log]
    assert sorted(tmp_path.iterdir()) == sorted(files)
    numbers = [int(line.split()[0]) for file in files for line in file.read_text().splitlines()]
    assert numbers == list(range(20 - len(numbers), 20))
    assert len(numbers) >= KEPT * 4
    assert sum(file.stat().st_size for file in files) < (KEPT + 1) * LIMIT * 1.3


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_bytes(b"x" * (LIMIT - 1))
    assert not rotate(tmp_path / "server.log")
    assert not rotate(tmp_path / "absent.log")
    assert [file.name for file in tmp_path.iterdir()] == ["server.log"]


@pytest.mark.parametrize("earlier", [0, 3])
def test_status_still_counts_the_errors_of_the_server_after_a_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earlier: int
) -> None:
    """And still none of the server before it, whose lines are in the same file."""
    monkeypatch.setattr(log_rotation, "LIMIT", 1)
    now, log = datetime(2026, 11, 28, 12), tmp_path / "server.log"
    error = "2026-11-28 11:00:00.000 | ERROR   | prefect.server - broken\n"
    log.write_text(error * (earlier + 2))
    note = tmp_path / "server.process.json"
    note.write_text(json.dumps({"pid": 1, "log_start": len(error) * earlier}))

    def counted() -> int:
        return read_errors(log, json.loads(note.read_text())["log_start"], now).count

    assert counted() == 2
    assert rotate(log)
    assert counted() == 2
    with log.open("a") as out:
        out.write(error)
    assert counted() == 3
    assert rotate(log)
    assert counted() == 1
    assert json.loads(note.read_text())["pid"] == 1

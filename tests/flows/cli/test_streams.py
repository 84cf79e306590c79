"""Streams and homes as cron, services and containers have them: a result is never lost after the work."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from artifacts.errors import RequestError
from flows.cli.streams import check_home
from flows.prefect_environment import configure_prefect
from tests.support.paths import ROOT

PRINT = "from flows.cli.streams import prepare_streams; prepare_streams(); print('Борис: schön 😀'); print('Борис')"


def run(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_character_that_the_terminal_lacks_is_escaped_and_said_once(encoding: str) -> None:
    script = f"{shlex.quote(sys.executable)} -c {shlex.quote(PRINT)}"
    process = run(script, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert process.returncode == 0
    assert process.stdout.splitlines()[0].startswith("\\u0411\\u043e\\u0440\\u0438\\u0441: sch")
    assert process.stdout.splitlines()[1] == "\\u0411\\u043e\\u0440\\u0438\\u0441"
    assert process.stderr.count("lacks some characters") == 1
    assert "PYTHONUTF8=1" in process.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_end_in_no_traceback(closed: str) -> None:
    process = run(f"{shlex.quote(sys.executable)} -m flows.cli summarize - --adapter none {closed}")
    assert process.returncode == 2
    assert "Traceback" not in process.stderr
    if "2>&-" not in closed:
        assert "standard input" in process.stderr


def test_an_account_without_home_is_told_to_set_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", missing)
    with pytest.raises(RequestError, match="set HOME to a folder that can be written"):
        check_home()


@pytest.mark.skipif(os.getuid() == 0, reason="root writes everywhere")
def test_a_home_that_cannot_be_written_is_refused_before_a_server_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o500)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    with pytest.raises(RequestError, match="set PREFECT_HOME or HOME"):
        configure_prefect()

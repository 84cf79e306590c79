"""Streams and homes as cron, services and containers have them: a result is never lost after the work."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

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


OTHER_USER = "unshare -U --map-user=12345 --map-group=12345"
"""Runs a command as a user who has no entry in /etc/passwd and no rights of root."""


@pytest.fixture
def as_other_user() -> str:
    if subprocess.run([*OTHER_USER.split(), "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no user namespaces")
    return f"{OTHER_USER} env -u HOME -u USER -u LOGNAME -u PREFECT_HOME -u HF_HOME"


def test_an_account_without_home_is_told_to_set_it(as_other_user: str) -> None:
    process = run(f"{as_other_user} {shlex.quote(sys.executable)} -m flows.cli plan")
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("dialogsum: this account has no home folder: set HOME to a folder")
    assert process.stderr.count("\n") == 1


def test_a_home_that_cannot_be_written_is_refused_before_a_server_starts(as_other_user: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    script = "from flows.prefect_environment import configure_prefect; configure_prefect()"
    process = run(f"{as_other_user} HOME={home} {shlex.quote(sys.executable)} -c {shlex.quote(script)}")
    assert process.stderr.splitlines()[-1].endswith(
        f"{home}/.prefect cannot be written: set PREFECT_HOME or HOME to a folder that can be written"
    )
    home.chmod(0o700)
    process = run(f"{as_other_user} HOME={home} {shlex.quote(sys.executable)} -c {shlex.quote(script)}")
    assert (process.returncode, process.stderr) == (0, "")

"""Row 19: a failing hub. Each fault has its message and is retried only where that can help; no partial or altered
download is used.

tests/flows/cli/test_errors.py has the licence and the unknown name on the command line; tests/tasks/test_hub_data.py
has datasets.
"""

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.fake_hub import COMMIT, CUT, HANGS, OTHER, Hub, serving
from tests.faults.fault_table import Tally
from tests.support.paths import ROOT

TOKEN = "hf_" + "canaryOfTheHubTests" * 2
PIN = """
from tasks.config import ModelConfig
from tasks.sources.resolve import resolve_model
found = resolve_model(ModelConfig(source='owner/model')).revision
"""
FETCH = f"""
from tasks.sources.hub import fetch
found = sorted(f.name for f in fetch('owner/model', '{COMMIT}', ['*.json', '*.safetensors']).iterdir())
"""
SCRIPT = """
import json, sys
from artifacts.errors import RequestError
from tasks.sources import hub
hub.RETRY_DELAYS = tuple(delay / 20 for delay in hub.RETRY_DELAYS)
try:
{what}
except RequestError as refused:
    found = str(refused)
print(json.dumps(found))
"""

SHORT = ("403 gated", "404")


@pytest.fixture
def hub(models: dict[str, Path]) -> Hub:
    return Hub(models["llama"])


@pytest.fixture
def resolve(hub: Hub, tmp_path: Path) -> Iterator[Any]:
    """`resolve(script)` returns its result or error; in a process of its own, since the address is read at import."""
    with serving(hub) as address:
        environment = {
            "HF_ENDPOINT": address,
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(tmp_path / "hf"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_ETAG_TIMEOUT": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            "HF_HUB_DISABLE_XET": "1",
            "PYTHONPATH": str(ROOT),
        }

        def call(what: str, **more: str) -> Any:
            process = subprocess.run(
                [sys.executable, "-c", SCRIPT.format(what=textwrap.indent(what, "    "))],
                cwd=ROOT,
                env=os.environ | environment | more,
                check=False,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert process.returncode == 0, process.stderr
            assert TOKEN not in process.stdout + process.stderr
            return json.loads(process.stdout.splitlines()[-1])

        yield call


REFUSED: dict[str, tuple[str, int, str, list[str], int]] = {  # where, status, code, words, how often asked
    "401 invalid token": ("info", 401, "", ["refuses the token", "HF_TOKEN", "unset it"], 1),
    "401 as unknown names get": ("info", 401, "RepoNotFound", ["no model owner/model", "expired", "HF_TOKEN"], 1),
    "403": ("info", 403, "", ["403", "licence", "HF_TOKEN"], 1),
    "403 gated": ("auth", 403, "GatedRepo", ["gated", "accept its licence", "HF_TOKEN"], 1),
    "404": ("info", 404, "RepoNotFound", ["no model owner/model"], 1),
    "404 revision": ("info", 404, "RevisionNotFound", ["no revision"], 1),
    "429": ("info", 429, "", ["429", "try again later"], 4),
    "500": ("info", 500, "", ["500", "try again later"], 4),
    "503": ("auth", 503, "", ["503", "try again later"], 4),
}


@pytest.mark.parametrize(
    "fault", [pytest.param(fault, marks=[] if fault in SHORT else pytest.mark.faults) for fault in REFUSED]
)
def test_a_refusal_is_said_with_what_to_do_and_repeated_only_where_that_may_help(
    hub: Hub, resolve: Any, tally: Tally, fault: str
) -> None:
    """For ever so: one line, as many questions as are worth asking, and the token in none of the words."""
    kind, status, code, words, times = REFUSED[fault]
    hub.faults[kind], hub.code = [status, -1], code
    if fault == "401 invalid token":
        hub.headers = {"X-Error-Message": "Invalid credentials in Authorization header"}
    answer = resolve(PIN)
    lost = [word for word in words if word not in answer]
    if hub.requests[kind] != times or "\n" in answer:
        lost.append(f"asked {hub.requests[kind]} times")
    assert any(TOKEN in seen for seen in hub.seen)
    tally("19 hub refuses", 1, [(fault, lost, answer)] if lost else [])


def test_what_ran_online_runs_offline_with_the_same_command(resolve: Any) -> None:
    """The branch is found offline although its files were downloaded by commit; without files it is not there."""
    assert resolve(PIN) == COMMIT
    assert "is not in the cache" in resolve(PIN, HF_HUB_OFFLINE="1")
    assert "config.json" in resolve(FETCH)
    assert resolve(PIN, HF_HUB_OFFLINE="1") == COMMIT


@pytest.mark.faults
@pytest.mark.parametrize("fault", [429, 500, 502, 503, 504, HANGS])
def test_what_passes_is_waited_for(hub: Hub, resolve: Any, tally: Tally, fault: int) -> None:
    """Twice, then the answer: the commit is found without a word."""
    again = [fault] if fault != HANGS else []  # the library's own question about rights waits as long as it likes
    hub.faults = {"info": [fault, fault], "auth": again.copy()}
    answer = resolve(PIN)
    lost = (
        [(fault, answer, hub.requests)]
        if (answer, hub.requests["info"], hub.requests["auth"]) != (COMMIT, 3, 1 + len(again))
        else []
    )
    tally("19 hub fails for a while", 1, lost)


@pytest.mark.faults
def test_the_hub_says_how_long_to_wait(hub: Hub, resolve: Any) -> None:
    """Retry-After counts more than our own patience."""
    hub.faults, hub.headers = {"info": [429]}, {"Retry-After": "2"}
    started = time.monotonic()
    assert resolve(PIN) == COMMIT
    assert time.monotonic() - started > 2


@pytest.mark.faults
def test_no_hub_at_all_is_said_at_once(resolve: Any) -> None:
    """Nobody listens there."""
    answer = resolve(PIN, HF_ENDPOINT="http://127.0.0.1:9")
    assert "cannot reach http://127.0.0.1:9" in answer
    assert "HF_HUB_OFFLINE=1" in answer


@pytest.mark.parametrize("fault", [CUT, *(pytest.param(f, marks=pytest.mark.faults) for f in (OTHER, HANGS, 500, 429))])
def test_nothing_half_downloaded_or_altered_is_used(
    hub: Hub, resolve: Any, models: dict[str, Path], tmp_path: Path, tally: Tally, fault: int
) -> None:
    """The files are complete, or the error is one line; the next try succeeds without manual cleaning."""
    hub.faults["file"] = [fault]
    answers = [resolve(FETCH), resolve(FETCH)]
    needed = sorted(name for name in hub.files if name.endswith((".json", ".safetensors")))
    lost: list[Any] = []
    if answers[1] != needed or (answers[0] != needed and "owner/model" not in answers[0]):
        lost.append((fault, answers))
    if fault == OTHER and "does not match its digest on the hub" not in answers[0]:
        lost.append(answers[0])
    for file in (tmp_path / "hf").rglob("snapshots/*/*"):
        if file.read_bytes() != hub.files[file.name]:
            lost.append((fault, file.name))
    tally("19 download cut, altered, refused", 1, lost)


@pytest.mark.faults
@pytest.mark.parametrize("revision", ["../../x", "/etc/passwd", "..", "a/../b", "a\0b", "", "-rf", "%2e%2e/x"])
def test_a_revision_is_a_name(resolve: Any, hub: Hub, revision: str) -> None:
    """It is looked for in the cache as a file, so it must not lead elsewhere."""
    answer = resolve(PIN.replace("'owner/model'", f"'owner/model', revision={revision!r}"))
    assert "is not the name of a commit, tag or branch" in answer
    assert not hub.requests

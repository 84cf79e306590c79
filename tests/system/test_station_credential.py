"""A station that other machines reach: with a credential, which its own workers and commands use without being told."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.listening import PREFECT_CREDENTIAL, SERVE_TOKEN
from tests.support.stations import LocalStation, wait_until

pytestmark = pytest.mark.slow
CREDENTIAL = "worker:pw-of-the-workers"


@pytest.fixture(scope="module")
def station(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStation]:
    started = LocalStation(tmp_path_factory.mktemp("station"), models["llama"])
    started.environment |= {PREFECT_CREDENTIAL: CREDENTIAL, SERVE_TOKEN: ""}
    try:
        started.up("--bind", "0.0.0.0")
        yield started
    finally:
        started.command("down")


def test_the_station_works_and_nobody_else_gets_in(station: LocalStation) -> None:
    """Workers poll, `status` finds nothing wrong; API and reports answer 401; the folder is closed to other users."""
    name, _, password = CREDENTIAL.partition(":")
    for url, path in ((station.url, "/work_pools/cpu-pool"), (station.reports, "/")):
        assert httpx.get(url + path).status_code == 401
        assert httpx.get(url + path, auth=(name, "wrong")).status_code == 401
        assert httpx.get(url + path, auth=(name, password)).status_code == 200

    def workers() -> set[str]:
        path = f"{station.url}/work_pools/cpu-pool/workers/filter"
        answer = httpx.post(path, json={}, auth=(name, password), timeout=60)
        return {worker["name"] for worker in answer.json() if worker["status"] == "ONLINE"}

    wait_until(lambda: workers() == {"cpu-worker"})
    assert "PROBLEM" not in station.command("status")
    folder = Path(station.environment["DIALOGSUM_STATION"])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [process for process in station.processes() if CREDENTIAL in " ".join(process.cmdline())] == []
    logs = b"".join(log.read_bytes() for log in folder.glob("*.log"))
    assert (b"pw-of-the-workers" in logs, len(logs) > 0) == (False, True)


@pytest.mark.parametrize("words", [["status"], ["down"], ["up", "--bind", "0.0.0.0", "--port", "PORT"]])
def test_without_the_credential_a_command_ends_in_one_line(station: LocalStation, words: list[str]) -> None:
    """Exit 2, the setting is named, and all goes on."""
    before = {process.pid for process in station.processes()}
    station.environment[PREFECT_CREDENTIAL] = "" if words[0] == "up" else "worker:wrong"
    try:
        refused = station.try_command(*[str(station.port) if word == "PORT" else word for word in words])
    finally:
        station.environment[PREFECT_CREDENTIAL] = CREDENTIAL
    assert (refused.returncode, refused.stderr.strip().splitlines()[-1].count(PREFECT_CREDENTIAL)) == (2, 1)
    assert "Traceback" not in refused.stderr
    assert "wrong" not in refused.stderr
    assert before <= {process.pid for process in station.processes()}

"""A team's server: Prefect's database in PostgreSQL, the API behind a credential, and a retraining on both."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.data import tiny_data
from tests.support.pipelines import small_overrides
from tests.support.processes import run_cli
from tests.support.servers import PostgreSQL, PrefectServer

CREDENTIAL = "team:pw-of-the-api"


@pytest.fixture(scope="module")
def database() -> Iterator[PostgreSQL]:
    cluster = PostgreSQL()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def server(database: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    """Set up as in docs/how-to/team-server.md."""
    started = PrefectServer(
        tmp_path_factory.mktemp("server"),
        PREFECT_SERVER_DATABASE_CONNECTION_URL=database.url,
        PREFECT_SERVER_API_AUTH_STRING=CREDENTIAL,
    )
    yield started
    started.stop()


@pytest.fixture(scope="module")
def recipe(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of a retraining that takes seconds."""
    settings = small_overrides(
        "smollm2-135m", models["llama"], tiny_data(tmp_path_factory.mktemp("data")), "gate.least_rows=1"
    )
    return ["smollm2-135m", *[word for setting in settings for word in ("--set", setting)], "--json"]


@pytest.mark.slow
def test_a_retraining_is_recorded_in_postgresql(
    database: PostgreSQL, server: PrefectServer, recipe: list[str], tmp_path: Path
) -> None:
    """With the credential: the flow, its nine tasks and their artifacts are rows of the database, completed."""
    client = {
        "PREFECT_API_URL": server.url,
        "PREFECT_API_AUTH_STRING": CREDENTIAL,
        "PREFECT_HOME": str(tmp_path / "home"),
    }
    process = run_cli("run", *recipe, **client)
    assert process.returncode == 0, process.stderr
    assert {entry["status"] for entry in json.loads(process.stdout)["stages"]} == {"run"}
    assert database.value("SELECT state_type FROM flow_run") == "COMPLETED"
    assert database.value("SELECT count(*) FROM task_run WHERE state_type = 'COMPLETED'") == "9"
    assert database.value("SELECT count(*) FROM artifact WHERE key IN ('report', 'scores', 'stages')") == "3"
    assert not list((tmp_path / "home").glob("prefect.db"))


@pytest.mark.slow
@pytest.mark.parametrize("credential", [None, "team:wrong"])
def test_without_the_credential_nothing_is_answered(
    database: PostgreSQL, server: PrefectServer, recipe: list[str], tmp_path: Path, credential: str | None
) -> None:
    """The API responds 401 except to a health check; a run ends in one line that names the setting; no stage starts."""
    assert server.status("/health") == 200
    assert server.status("/flow_runs/filter", "POST") == 401
    flow_runs = database.value("SELECT count(*) FROM flow_run")
    own = {"PREFECT_API_AUTH_STRING": credential} if credential else {}
    refused = run_cli("run", *recipe, PREFECT_API_URL=server.url, PREFECT_HOME=str(tmp_path / "home"), **own)
    assert (refused.returncode, refused.stdout) == (2, ""), refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "PREFECT_API_AUTH_STRING" in refused.stderr
    assert "wrong" not in refused.stderr
    assert database.value("SELECT count(*) FROM flow_run") == flow_runs


@pytest.mark.slow
def test_a_server_that_is_not_there_is_refused(recipe: list[str], tmp_path: Path) -> None:
    """One line with its address and the remedy, exit 2."""
    refused = run_cli("run", *recipe, PREFECT_API_URL="http://127.0.0.1:9/api", PREFECT_HOME=str(tmp_path / "home"))
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert "http://127.0.0.1:9/api does not answer" in refused.stderr

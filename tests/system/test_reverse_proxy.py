"""A team's servers behind a real nginx with deploy/nginx.conf: TLS; viewers, operators, workers, a run by https."""

import json
import ssl
import sys
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from prefect.utilities.callables import parameter_schema
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from flows.pipeline import retrain
from tests.support.browsers import needs_browser, offline_browser
from tests.support.data import tiny_data
from tests.support.paths import ROOT
from tests.support.pipelines import small_overrides
from tests.support.processes import run_cli
from tests.support.reverse_proxy import WORKER, ReverseProxy, basic, credential_of
from tests.support.servers import PrefectServer, Process, free_ports, until
from tests.support.stations import wait_until

pytestmark = pytest.mark.slow
WAITS = """
import time
from prefect import flow

@flow
def waits():
    while True:
        time.sleep(0.2)
"""
READS = {"filter", "count", "paginate", "history", "lateness", "concurrency_status"}
"""Last word of the paths to which Prefect's clients POST what they want to read."""
MORE_READS = {
    "/events/count-by/{countable}",
    "/ui/flow_runs/count-task-runs",
    "/ui/flows/count-deployments",
    "/ui/flows/next-runs",
    "/ui/task_runs/dashboard/counts",
}
SECRET_OR_RARE = ("/block_", "/admin/storage")
"""Begin paths that viewers do not read: blocks hold secrets, and the API returns them to whoever asks."""


class Team:
    """Prefect server, report server and reverse proxy."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, folder / "store"
        settings = {"PREFECT_SERVER_API_AUTH_STRING": WORKER, "PREFECT_SERVER_UI_API_URL": "/api"}
        self.prefect = PrefectServer(folder / "prefect", **settings)
        (port,) = free_ports(1)
        command = [sys.executable, "-m", "flows.station.report_server", "127.0.0.1", str(port)]
        more = {"DIALOGSUM_STORE": str(self.store), "PYTHONPATH": str(ROOT), **settings}
        self.reports = Process(command, folder / "reports.log", **more)
        try:
            until(lambda: httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200, "the report server", 240)
            self.proxy = ReverseProxy(folder / "nginx", int(self.prefect.url.split(":")[2].removesuffix("/api")), port)
        except BaseException:
            self.reports.stop()
            self.prefect.stop()
            raise

    def ask(self, person: str, method: str, route: str, /, **content: Any) -> httpx.Response:
        with self.proxy.client(person) as client:
            return client.request(method, f"/api{route}", json=content or None)

    def ok(self, person: str, method: str, route: str, /, **content: Any) -> Any:
        answer = self.ask(person, method, route, **content)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def deployment(self, flow: str, **more: Any) -> str:
        """A deployment on the pool `https`, made by the operator."""
        flow_id = self.ok("anna", "POST", "/flows/", name=flow)["id"]
        content = {"name": flow, "flow_id": flow_id, "work_pool_name": "https", "path": str(self.folder)}
        return str(self.ok("anna", "POST", "/deployments/", **content | more)["id"])


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    started = Team(tmp_path_factory.mktemp("team"))
    started.ok("anna", "POST", "/work_pools/", name="https", type="process", base_job_template=template())
    yield started
    started.proxy.server.stop()
    started.reports.stop()
    started.prefect.stop()


def template() -> dict[str, Any]:
    from prefect.workers.process import ProcessWorker

    return ProcessWorker.get_default_base_job_template()


def test_without_a_credential_there_is_nothing(team: Team) -> None:
    """Neither page nor API nor report; nor with a wrong password, nor by http; the certificate is of our authority."""
    proxy = team.proxy
    for url, paths in (
        (proxy.url, ("/", "/ui-settings", "/api/health", "/api/flows/filter", "/nothing")),
        (proxy.reports, ("/", "/health", "/report/report-00000000")),
    ):
        for path in paths:
            for person, password in ((None, ""), ("victor", "wrong"), ("anna", "pw-of-victor"), ("nobody", "x")):
                answer = proxy.client(person, url, password).get(path)
                assert (answer.status_code, answer.headers["www-authenticate"].split()[0]) == (401, "Basic")
            assert httpx.get(url.replace("https", "http") + path).status_code == 400
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(url, verify=ssl.create_default_context())


def test_a_viewer_reads_and_changes_nothing(team: Team) -> None:
    """Every route of Prefect's API: reads pass, others are refused by the proxy, in whatever spelling of the path."""
    paths = team.ok("anna", "GET", "/openapi.json")["paths"]
    routes = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    assert len(routes) > 150
    with team.proxy.client("victor") as client:
        for method, route in routes:
            path = route.removeprefix("/api")
            read = method == "GET" or (method == "POST" and (path.split("/")[-1] in READS or path in MORE_READS))
            read = read and not path.startswith(SECRET_OR_RARE)
            asked = "/api" + path.replace("{countable}", "day").replace("{view}", "aggregate-worker-metadata")
            while "{" in asked:
                asked = f"{asked.partition('{')[0]}{uuid4()}{asked.partition('}')[2]}"
            status = client.request(method, asked, json={} if method == "POST" else None).status_code
            assert (status not in (401, 403)) == read, (method, route, status)
            if not read:
                first, _, rest = asked.removeprefix("/api/").partition("/")
                for spelled in (
                    f"/api/%{ord(first[0]):02x}{first[1:]}/{rest}",
                    f"/%61pi/{first}/{rest}",
                    f"/api//{first}/{rest}",
                    f"//api/{first}/{rest}",
                    f"/x/../api/{first}/{rest}",
                    f"/x/%2e%2e/api/{first}/{rest}",
                    f"{asked}%2f..%2ffilter",
                    f"{asked}/../filter",
                    f"{asked}?/filter",
                    f"{asked}%0a/filter",
                ):
                    assert spelled_status(team, method, spelled) in (400, 403), (method, spelled)


def spelled_status(team: Team, method: str, path: str) -> int:
    """Status of the answer to a viewer's request; the path is sent to the letter, which httpx does not."""
    connection = HTTPSConnection("127.0.0.1", team.proxy.port, context=team.proxy.trusting, timeout=60)
    headers = {"Authorization": basic(credential_of("victor")), "Content-Type": "application/json"}
    connection.request(method, path, body="{}", headers=headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_blocks_are_for_operators(team: Team) -> None:
    """Prefect returns their secrets to whoever may ask."""
    block = team.ok("anna", "GET", "/block_types/slug/secret")
    (schema,) = team.ok(
        "anna", "POST", "/block_schemas/filter", block_schemas={"block_type_id": {"any_": [block["id"]]}}
    )
    content = {
        "name": "canary",
        "data": {"value": "c4nary"},
        "block_schema_id": schema["id"],
        "block_type_id": block["id"],
    }
    document = team.ok("anna", "POST", "/block_documents/", **content)["id"]
    read = f"/block_documents/{document}?include_secrets=true"
    assert "c4nary" in team.ask("anna", "GET", read).text
    refused = team.ask("victor", "GET", read)
    assert (refused.status_code, "c4nary" in refused.text) == (403, False)
    settings = team.ask("victor", "GET", "/admin/settings")
    assert (settings.status_code, WORKER.partition(":")[2] in settings.text) == (200, False)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1", "https://127.0.0.1"])
def test_pages_from_elsewhere_change_nothing_with_a_persons_credential(team: Team, origin: str) -> None:
    """A browser sends it with their requests, too; the proxy refuses them by their Origin."""
    with team.proxy.client("anna") as client:
        assert client.post("/api/flows/filter", json={}, headers={"Origin": origin}).status_code == 403
        assert client.post("/api/flows/filter", json={}, headers={"Origin": team.proxy.url}).status_code == 200


def test_an_operator_starts_and_cancels_a_run_of_a_worker_by_https(team: Team) -> None:
    """A viewer sees the run, and can neither start nor cancel one. The worker, too, comes through the proxy."""
    (team.folder / "waits.py").write_text(WAITS)
    deployment = team.deployment("waits", entrypoint="waits.py:waits")
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "https", "--limit", "1"]
    home = {"PREFECT_HOME": str(team.folder / "home"), "PREFECT_WORKER_QUERY_SECONDS": "2"}
    worker = Process(command, team.folder / "worker.log", **home, **team.proxy.environment("worker"))
    try:
        start = f"/deployments/{deployment}/create_flow_run"
        assert team.ask("victor", "POST", start).status_code == 403
        assert team.ok("victor", "POST", "/flow_runs/count") == 0
        run = team.ok("anna", "POST", start, state={"type": "SCHEDULED"})["id"]

        def state() -> str:
            return str(team.ok("victor", "GET", f"/flow_runs/{run}")["state_type"])

        wait_until(lambda: state() == "RUNNING")
        cancel = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        assert team.ask("victor", "POST", f"/flow_runs/{run}/set_state", **cancel).status_code == 403
        assert state() == "RUNNING"
        team.ok("anna", "POST", f"/flow_runs/{run}/set_state", **cancel)
        wait_until(lambda: state() == "CANCELLED")
    finally:
        worker.stop()


@pytest.mark.parametrize("path", ["/events/out", "/logs/out"])
def test_events_and_logs_are_streamed_to_the_server_credential_alone(team: Team, path: str) -> None:
    """WebSockets by TLS: Prefect reads the credential in the first message, and knows that of the workers alone."""
    url = f"wss://127.0.0.1:{team.proxy.port}/api{path}"

    def first_answer(token: str | None) -> str:
        with connect(url, ssl=team.proxy.trusting, subprotocols=["prefect"], open_timeout=60) as socket:  # type: ignore[list-item]
            socket.send(json.dumps({"type": "auth", "token": token}))
            try:
                return str(json.loads(socket.recv(60))["type"])
            except ConnectionClosed:
                return "closed"

    assert [first_answer(token) for token in (WORKER, credential_of("victor"), None)] == [
        "auth_success",
        "closed",
        "closed",
    ]


def test_dialogsum_run_by_https_is_recorded_and_its_report_opens(
    team: Team, models: dict[str, Path], tmp_path: Path
) -> None:
    """Task runs come as events, by WebSocket. Without authority or credential it is refused in one line."""
    settings = small_overrides("smollm2-135m", models["llama"], tiny_data(tmp_path / "data"), "gate.least_rows=1")
    words = ["smollm2-135m", *[word for setting in settings for word in ("--set", setting)], "--json"]
    own = {"DIALOGSUM_STORE": str(team.store), "PREFECT_HOME": str(tmp_path / "home")}
    untrusted = {**own, **team.proxy.environment("worker")}
    untrusted.pop("PREFECT_API_SSL_CERT_FILE")
    unknown = {**own, **team.proxy.environment("worker"), "PREFECT_API_AUTH_STRING": "worker:wrong"}
    for environment in (untrusted, unknown):
        refused = run_cli("run", *words, **environment)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
    process = run_cli("run", *words, **own, **team.proxy.environment("worker"))
    assert process.returncode == 0, process.stderr
    runs = team.ok("victor", "POST", "/flow_runs/filter", flows={"name": {"any_": ["retrain"]}})
    assert [run["state_type"] for run in runs] == ["COMPLETED"]
    completed = {"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
    wait_until(lambda: team.ok("victor", "POST", "/task_runs/count", **completed) == 9)
    report = next(stage["artifact"] for stage in json.loads(process.stdout)["stages"] if stage["stage"] == "report")
    page = team.proxy.client("victor", team.proxy.reports).get(f"/report/{report}")
    assert (page.status_code, "<html" in page.text) == (200, True)


def test_a_form_stores_no_credential(team: Team) -> None:
    """The server refuses the run; neither its database nor its log contains the token afterwards."""
    token = "hf_" + "canaryOfTheForm" * 2
    schema = parameter_schema(retrain).model_dump_for_openapi()
    more = {"parameter_openapi_schema": schema, "enforce_parameter_schema": True}
    deployment = team.deployment("retrain-form", entrypoint="waits.py:waits", **more)
    parameters = {"recipe": "quickstart", "overrides": [f"data.source={token}"]}
    refused = team.ask("anna", "POST", f"/deployments/{deployment}/create_flow_run", parameters=parameters)
    assert refused.status_code in (409, 422)
    files = [file for file in team.folder.rglob("*") if file.is_file()]
    assert any(file.name == "prefect.db" for file in files)
    assert [file for file in files if token.encode() in file.read_bytes()] == []
    allowed = parameters | {"overrides": ["data.source=sample"]}
    team.ok("anna", "POST", f"/deployments/{deployment}/create_flow_run", parameters=allowed)


def test_the_direct_way_needs_the_server_credential(team: Team) -> None:
    """Who goes past the proxy, as workers on the same machine do, has the workers' credential or nothing."""
    assert team.prefect.status("/flows/filter", "POST") == 401
    for credential, status in ((WORKER, 200), (credential_of("anna"), 401)):
        answer = httpx.post(f"{team.prefect.url}/flows/filter", json={}, headers={"Authorization": basic(credential)})
        assert answer.status_code == status


@needs_browser[1]
def test_a_viewer_sees_the_ui_after_one_login(team: Team, tmp_path: Path) -> None:
    """The browser's dialog is the only one; the UI finds its API by https and shows what is there."""
    team.ok("anna", "POST", "/flows/", name="seen-by-victor")
    browser = offline_browser(tmp_path / "profile")
    try:
        online = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
        browser.execute_cdp_cmd("Network.emulateNetworkConditions", online)
        browser.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": True})
        browser.get(team.proxy.url.replace("//", f"//{credential_of('victor')}@"))  # as typed into the dialog
        browser.get(f"{team.proxy.url}/flows")
        wait_until(lambda: "seen-by-victor" in browser.find_element("tag name", "body").text)
        assert browser.find_elements("css selector", "input[type=password]") == []
    finally:
        browser.quit()

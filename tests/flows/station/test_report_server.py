"""The report server serves intact artifacts of a local or remote store, and nothing else, to authorized clients."""

import base64
import re
import uuid
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from artifacts.manifest import InputRef, Manifest, Provenance
from flows.station import health
from flows.station.report_server import application
from flows.station.status_records import Status
from tests.support.hostile_texts import HOSTILE_NAMES
from tests.support.statuses import a_status

PAGE = b"<!doctype html><title>\xe2\x80\x9cr\xe2\x80\x9d</title>"
Published = Callable[..., Manifest]


@pytest.fixture(params=["local", "memory"])
def any_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The store that DIALOGSUM_STORE names: on a disk, and as fsspec gives one."""
    if request.param == "memory":
        monkeypatch.setenv("DIALOGSUM_STORE", f"memory://{uuid.uuid4().hex}/store")
    return Store.current()


@pytest.fixture
def published(any_store: Store, tmp_path: Path) -> Published:
    """Puts artifacts into it, each a minute younger than the one before."""
    count = 0

    def publish(stage: str, inputs: dict[str, Manifest] = {}, facts: dict[str, Any] = {}) -> Manifest:  # noqa: B006
        nonlocal count
        count += 1
        out = tmp_path / f"out{count}"
        out.mkdir()
        (out / ("report.html" if stage == "report" else "x.json")).write_bytes(PAGE)
        return any_store.publish(
            out,
            stage=stage,
            variant=None,
            name=stage,
            key=f"{count:08x}" * 8,
            rows=1000,
            identity={"config": {"a": "<b>"}},
            facts=facts,
            inputs={role: InputRef(id=m.id, digest=m.digest) for role, m in inputs.items()},
            provenance=Provenance(
                at=f"2026-01-05T06:{count:02d}:00.000000",
                seconds=1,
                run="run",
                origin={"recipe": f"recipe{count} 0abc"},
            ),
        )

    return publish


@pytest.fixture
def web() -> TestClient:
    """A browser, as far as requests go, at a server on the loopback interface."""
    return TestClient(application("127.0.0.1"), base_url="http://127.0.0.1:4201", raise_server_exceptions=False)


class Links(HTMLParser):
    """The targets of all links of a page, and the elements in it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.targets, self.elements = list[str](), set[str]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.targets += [value for name, value in attrs if name == "href" and value]


def a_report(published: Published, head: str = "It is better.") -> Manifest:
    """A report with all that the list shows of it."""
    adapter = published("train")
    scores = published("score", facts={"headline": {"base": {"rouge1": 12.345}, "tuned": {"rouge1": 45.678}}})
    return published("report", {"adapter": adapter, "scores": scores}, {"verdict": {"head": head}})


def test_every_report_is_listed_newest_first_and_every_link_opens(web: TestClient, published: Published) -> None:
    """With verdict, recipe, date, adapter and scores; from the list all artifacts behind the reports are reached."""
    assert "no reports" in web.get("/").text
    first, second = a_report(published), a_report(published, "<img src=x onerror=alert(1)>")
    list_ = web.get("/").text
    assert list_.index(second.id) < list_.index(first.id)
    for shown in ("It is better.", "recipe3 0abc", "2026-01-05 06:03", "12.35", "45.68", first.inputs["adapter"].id):
        assert shown in list_
    assert "img" not in Links(list_).elements
    todo, seen = ["/"], dict[str, int]()
    while todo:
        if (path := todo.pop()) not in seen:
            answer = web.get(path)
            seen[path] = answer.status_code
            todo += Links(answer.text).targets
    assert set(seen.values()) == {200}
    inputs = {ref.id for report in (first, second) for ref in report.inputs.values()}
    assert seen.keys() == {
        "/",
        *(f"/artifact/{name}" for name in (*inputs, first.id, second.id)),
        *(f"/report/{r.id}" for r in (first, second)),
    }


def test_a_report_is_served_as_it_lies_in_the_store(web: TestClient, published: Published) -> None:
    """GET returns its bytes and HEAD the same headers; those forbid loading, framing, sending and content sniffing."""
    report = a_report(published)
    answer, head = web.get(f"/report/{report.id}"), web.head(f"/report/{report.id}")
    assert (answer.status_code, answer.content) == (200, PAGE)
    assert (head.status_code, head.headers) == (200, answer.headers)
    for path in (f"/report/{report.id}", f"/artifact/{report.id}", "/", "/report/nothing"):
        headers = web.get(path).headers
        policy = {words.split()[0]: words.split()[1:] for words in headers["content-security-policy"].split(";")}
        assert (policy["default-src"], policy["frame-ancestors"], policy["form-action"]) == (["'none'"],) * 3
        assert ("script-src" in policy) == ("sandbox" in policy) == (path == f"/report/{report.id}")
        assert "allow-same-origin" not in policy.get("sandbox", [])
        assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
        assert headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(web: TestClient, published: Published, method: str) -> None:
    report = a_report(published)
    for path in ("/", f"/report/{report.id}", f"/artifact/{report.id}"):
        assert web.request(method, path).status_code == 405


def test_an_unknown_id_is_distinguished_from_a_known_one(web: TestClient, published: Published) -> None:
    """404 with a line on what exists and a link to the list; other artifacts are not served as reports."""
    report = a_report(published)
    near = report.id[:-1] + "f"
    for path in (f"/report/{near}", f"/artifact/{near}"):
        answer = web.get(path)
        assert answer.status_code == 404
        assert near in answer.text
        assert f"did you mean &#39;{report.id}&#39;?" in answer.text
        assert Links(answer.text).targets == ["/", "/"]
    other = web.get(f"/report/{report.inputs['adapter'].id}")
    assert (other.status_code, "is no report" in other.text) == (404, True)


@pytest.mark.parametrize("form", HOSTILE_NAMES, ids=ascii)
def test_no_path_leads_out_of_the_store(web: TestClient, published: Published, tmp_path: Path, form: str) -> None:
    """In whatever spelling: nothing but an id of an artifact in the store is served, and no markup comes back."""
    a_report(published)
    (tmp_path / "secret").write_text("the secret")
    for path in (form, f"../{form}", f"{form}/../../../secret", f'{form}"><script>'):
        once = quote(path, safe="").replace(".", "%2E")  # or the client goes up the path itself
        for spelled in (once, quote(once)):
            for page in ("report", "artifact"):
                answer = web.get(f"/{page}/{spelled}")
                assert answer.status_code == 404
                assert "the secret" not in answer.text
                assert "script" not in Links(answer.text).elements


def test_a_damaged_report_is_not_served(any_store: Store, published: Published, web: TestClient) -> None:
    """If a byte was changed, the page names the file instead of showing it."""
    report = a_report(published)
    assert web.get(f"/report/{report.id}").status_code == 200
    any_store.backend.write(f"{report.path}/payload/report.html", PAGE.replace(b"r", b"x"))
    answer = web.get(f"/report/{report.id}")
    assert answer.status_code == 500
    assert "report.html was altered" in answer.text


def test_an_input_that_is_gone_is_no_link(any_store: Store, published: Published, web: TestClient) -> None:
    report = a_report(published)
    gone = report.inputs["adapter"].id
    any_store.backend.remove(any_store.by_id(gone).path)
    page = web.get(f"/artifact/{report.id}").text
    assert gone in page
    assert f"/artifact/{gone}" not in Links(page).targets


def test_a_foreign_page_cannot_read_a_server_on_the_loopback_interface(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that somebody points to 127.0.0.1 is refused there; a server for others answers to the names it has."""
    with pytest.raises(RequestError, match=r"--host 0\.0\.0\.0 .*export PREFECT_SERVER_API_AUTH_STRING="):
        application("0.0.0.0")
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "team:password")
    basic = "Basic " + base64.b64encode(b"team:password").decode()
    for host, name, status in [
        ("127.0.0.1", "evil.example", 400),
        ("127.0.0.1", "localhost:4201", 200),
        ("0.0.0.0", "station.example", 200),
    ]:
        answer = TestClient(application(host), base_url="http://127.0.0.1").get(
            "/", headers={"Host": name, "Authorization": basic}
        )
        assert answer.status_code == status


def test_the_credential_of_the_prefect_server_is_wanted_here_too(
    monkeypatch: pytest.MonkeyPatch, published: Published, web: TestClient
) -> None:
    """Where the API has one, the dialogues in reports are not open to all who reach the port; a browser asks for it."""
    report = a_report(published)
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "team:pässword")
    refused = web.get(f"/report/{report.id}")
    assert (refused.status_code, refused.headers["www-authenticate"].split()[0]) == (401, "Basic")
    assert PAGE not in refused.content
    for credential, status in (("team:pässword", 200), ("team:password", 401), ("", 401)):
        basic = "Basic " + base64.b64encode(credential.encode()).decode()
        assert web.get(f"/report/{report.id}", headers={"Authorization": basic}).status_code == status
    assert web.get("/live").status_code == 200


def test_page_of_an_artifact_has_its_files_and_findings(web: TestClient, published: Published) -> None:
    """Sizes and digests of the files, what was found, and the manifest, all as text."""
    manifest = published("train", facts={"halved": 3, "said": "<script>alert(1)</script>"})
    page = web.get(f"/artifact/{manifest.id}").text
    seal = manifest.files["x.json"]
    assert re.search(rf"x\.json</th><td[^>]*>{seal.bytes}</td><td[^>]*>{seal.sha256}", page)
    assert "3 times" in page
    assert manifest.checksum in page
    assert "script" not in Links(page).elements


@pytest.mark.parametrize(("problems", "code"), [((), 200), (("gpu-worker is dead",), 503)])
def test_health_is_the_status_and_strangers_learn_only_whether_all_is_well(
    monkeypatch: pytest.MonkeyPatch, problems: tuple[str, ...], code: int
) -> None:
    """With a credential, only whoever has it gets the record; without one, the server is on the loopback interface."""
    status = a_status(*problems)
    monkeypatch.setattr(health, "current_status", lambda: status)

    def answer(host: str, **headers: str) -> tuple[int, Any]:
        client = TestClient(application(host), base_url=f"http://{host}:4201")
        response = client.get("/health", headers=headers)
        return response.status_code, response.json()

    known, stranger = status.model_dump(mode="json"), {"ok": not problems}
    assert answer("127.0.0.1") == (code, known)
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "team:password")
    assert answer("127.0.0.1") == answer("192.0.2.1") == (code, stranger)
    assert answer("192.0.2.1", Authorization="Basic " + base64.b64encode(b"team:wrong").decode()) == (code, stranger)
    assert answer("192.0.2.1", Authorization="Basic " + base64.b64encode(b"team:password").decode()) == (code, known)


def test_a_status_that_cannot_be_computed_is_a_problem_in_one_line(
    monkeypatch: pytest.MonkeyPatch, web: TestClient
) -> None:
    def fail() -> Status:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(health, "current_status", fail)
    response = TestClient(application("127.0.0.1"), base_url="http://127.0.0.1:4201").get("/health")
    assert response.status_code == 503
    assert response.json() == {
        "ok": False,
        "problems": ["the status is unknown: RuntimeError: first line second line"],
    }

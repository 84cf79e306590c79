"""A real station: server, pools, workers and deployments from a clean copy of the code, used through the server's API.

One station serves all tests of this file; a tiny model makes runs short, all else is as in use.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import psutil
import pytest

from artifacts import retention
from artifacts.artifact_store import Store
from flows.station.supervisor import reports_url
from tests.faults.fault_table import Tally
from tests.support.artifacts import publish_aged
from tests.support.data import tiny_data
from tests.support.reports import link_targets
from tests.support.stations import ENDED, HOLDER, LocalStation, wait_until

pytestmark = pytest.mark.slow
QUEUED = int(os.environ.get("DIALOGSUM_QUEUED", "200"))
"""Number of evaluations that start at once. Each is a process: 200 take half an hour on two cores."""
STRANGE = """
import sys
from prefect import flow

@flow
def strange():
    sys.stdin.read()

strange()
"""


@pytest.fixture(scope="module")
def retrained(station: LocalStation) -> dict[str, Any]:
    return station.ended(station.retrain())


def test_clean_copy_deploys_everything_and_a_second_up_changes_nothing(station: LocalStation) -> None:
    """Every deployment is on its pool, with schedule, limits, automations and default recipe; ids and processes stay.

    Only the report server, which has died meanwhile, is a new one at the same address. A station of an earlier version
    has automations of other names, which are renamed. The second `up` frees a slot of the GPU that no lease holds, as
    after a server that has lost its leases.
    """

    def seen() -> dict[str, Any]:
        return {
            "deployments": {d["name"]: (d["id"], d["work_pool_name"]) for d in station.post("/deployments/filter")},
            "recipes": {d["name"]: d["parameters"].get("recipe") for d in station.post("/deployments/filter")},
            "automations": sorted(a["name"] for a in station.post("/automations/filter")),
            "limits": {x["name"]: x["limit"] for x in station.post("/v2/concurrency_limits/filter")},
            "processes": {name: station.process(name).pid for name in ("server", "cpu-worker", "gpu-worker")},
        }

    first = seen()
    stages = (
        "download",
        "format",
        "train",
        "sample",
        "generate",
        "probe",
        "judge",
        "score",
        "review",
        "promote",
        "report",
    )
    names = {"retrain", "evaluate", "promote", "sweep", "summarize", "gc", *(f"stage-{name}" for name in stages)}
    on_gpu = {name for name, (_, pool) in first["deployments"].items() if pool == "gpu-pool"}
    assert set(first["deployments"]) == names
    assert on_gpu == {"stage-train", "stage-sample", "stage-generate", "stage-probe", "stage-judge", "summarize"}
    assert first["limits"]["gpu"] == 1
    # no heartbeat, never begun, never cancelled; promoted, rejected, not completed, late; dataset updated
    assert len(first["automations"]) == 8
    retrain = station.get("/deployments/name/retrain/retrain")
    assert retrain["schedules"][0]["schedule"]["timezone"] == "Europe/Berlin"
    for name in ("retrain", "promote", "sweep"):
        assert station.get(f"/deployments/name/{name}/{name}")["work_queue_name"] == name
        assert station.get(f"/deployments/name/{name}/{name}")["global_concurrency_limit"] is None
        assert station.get(f"/work_pools/cpu-pool/queues/{name}")["concurrency_limit"] == 1
    assert first["recipes"] == dict.fromkeys(names) | dict.fromkeys(
        ("retrain", "evaluate", "promote", "sweep"), "quickstart"
    )
    assert (
        "default recipe: quickstart (no champion exists, and smollm2-135m of prefect.yaml cannot run here"
        in station.first
    )
    assert f"http://127.0.0.1:{station.port}/deployments?deployments.tags.name=dialogsum" in station.first
    station.rename("mark runs without heartbeat as Crashed", "a run that no longer beats has crashed")
    station.rename(
        "mark runs that never started as Crashed", "a run that was taken and never began has crashed", copy=True
    )
    reports = station.process("reports")
    reports.kill()
    reports.wait()
    station.post("/v2/concurrency_limits/increment", names=["gpu"], slots=1)
    broken = station.try_command("status")
    assert broken.returncode == 1
    assert f"reports: {station.reports}, DOES NOT ANSWER" in broken.stdout
    assert "PROBLEM: reports is dead" in broken.stdout
    assert "PROBLEM: the slot of 'gpu' is taken, but no run holds it" in broken.stdout
    output = station.up()
    assert "freed the slot of 'gpu', which no run held" in output
    assert station.get("/v2/concurrency_limits/gpu")["active_slots"] == 0
    assert f"reports: {station.reports}, answers" in output
    assert "default recipe: quickstart (kept from an earlier `station up`" in output
    assert "creating pools, limits, automations and deployments" in station.progress
    assert seen() == first
    assert station.process("reports").pid != reports.pid


def test_announcements_stay_until_none_and_no_process_inherits_their_credentials(
    station: LocalStation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in its arguments nor in its environment. The report server is one that this `up` starts."""
    reports = station.process("reports")
    reports.kill()
    reports.wait()
    monkeypatch.setitem(station.environment, "DIALOGSUM_NOTIFY", "json://me:s3cret@127.0.0.1:9/x")
    assert station.up().count("announcements go to: JSON\n") == 2
    monkeypatch.undo()
    assert station.up().count("announcements go to: JSON\n") == 2
    processes = station.processes()
    assert station.process("reports") in processes
    assert [p.pid for p in processes if "s3cret" in f"{p.cmdline()} {p.environ()}"] == []
    assert "announcements go to: JSON\n" in station.command("status")
    assert "announcements go to: nobody" in station.up("--notify", "none")


def test_the_ui_describes_everything_to_users(station: LocalStation) -> None:
    """Sentences without docstrings of developers: deployments, pools, and what each automation waits for and does."""
    texts = {d["name"]: d["description"] for d in station.post("/deployments/filter")}
    assert "again from its id. `refresh` is on" in texts["stage-generate"]
    assert [name for name, text in texts.items() if not text or re.search(r"Args:|Error|that is there", text)] == []
    assert "summarize" in station.get("/work_pools/gpu-pool")["description"]
    automations = {a["name"]: a["description"] for a in station.post("/automations/filter")}
    assert [name for name, text in automations.items() if not re.match("Waits for .* Then ", text)] == []
    assert {
        "dialogsum: mark runs without heartbeat as Crashed",
        "dialogsum: mark runs that never started as Crashed",
        "dialogsum: finish cancellation of runs whose worker died",
    } <= set(automations)
    recipe = station.get("/deployments/name/summarize/summarize")["parameter_openapi_schema"]["properties"]["recipe"]
    assert (recipe["type"], recipe["default"]) == ("string", "")
    assert recipe["enum"][0] == ""
    assert "quickstart" in recipe["enum"]


def test_the_link_to_the_jobs_shows_them_alone(station: LocalStation, tmp_path: Path) -> None:
    """In Prefect's own page: otherwise `summarize` is behind seven stages, on the second page of the list."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium: make setup")
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("no chromium and chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(option)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))

    def listed() -> list[str]:
        links = driver.find_elements("css selector", "tbody tr a[href*='/deployments/deployment/']")
        return [link.text for link in links]

    try:
        (link,) = re.findall(r"http://\S+deployments\?\S+", station.first)
        driver.get(link)
        wait_until(lambda: len(listed()) == 6)
        assert listed() == ["evaluate", "gc", "promote", "retrain", "summarize", "sweep"]
    finally:
        driver.quit()


def test_schedule_has_runs_ahead_in_its_time_zone_and_status_prints_the_next(station: LocalStation) -> None:
    """Within 100 s of `up`, at the local hour of the schedule; `status` reports that nothing is wrong."""

    def ahead(name: str = "retrain") -> list[datetime]:
        scheduled = {"state": {"type": {"any_": ["SCHEDULED"]}}}
        runs = station.post("/flow_runs/filter", flow_runs=scheduled, deployments={"name": {"any_": [name]}})
        return sorted(datetime.fromisoformat(r["next_scheduled_start_time"]) for r in runs if r["auto_scheduled"])

    wait_until(lambda: len(ahead()) >= 3, 100)
    local = [time.astimezone(ZoneInfo("Europe/Berlin")) for time in ahead()]
    assert {(time.weekday(), time.hour, time.minute) for time in local} == {(0, 3, 0)}
    assert all(
        later - earlier == timedelta(days=7) for earlier, later in pairwise(t.replace(tzinfo=None) for t in local)
    )
    assert f"next scheduled run: retrain/retrain, {local[0]:%a %Y-%m-%d} 03:00 Europe/Berlin\n" in station.command(
        "status"
    )
    wait_until(lambda: len(ahead("gc")) >= 3, 100)
    daily = [time.astimezone(ZoneInfo("Europe/Berlin")) for time in ahead("gc")]
    assert {(time.hour, time.minute) for time in daily} == {(5, 0)}


def test_a_scheduled_gc_shows_in_the_ui_what_it_removed(station: LocalStation) -> None:
    """With the policy of the deployment: of two artifacts that are 100 days old the pinned one stays."""
    store = Store(station.folder / "store")
    old, pinned = (publish_aged(store, station.folder / str(number), number, days=100) for number in (1, 2))
    retention.pin(store, pinned)
    run = station.ended(station.start("gc/gc"))
    assert run["state_type"] == "COMPLETED", run["state"]
    assert run["state"]["message"].startswith("removed 1 (1 byte); kept ")
    (table,) = station.post("/artifacts/filter", artifacts={"flow_run_id": {"any_": [run["id"]]}})
    assert (table["key"], table["type"]) == ("removed", "table")
    assert [row["name"] for row in json.loads(table["data"])] == [old]
    assert pinned in {m.id for m in store.manifests()}
    retention.unpin(store, pinned)
    store.backend.remove(store.by_id(pinned).path)


def test_status_fails_on_errors_in_the_servers_log_and_names_them(station: LocalStation) -> None:
    """Nobody reads that log otherwise: a scheduler that failed every minute looked healthy."""
    log = station.folder / "station" / "server.log"
    content = log.read_bytes()
    try:
        with log.open("a") as out:
            out.write(f"{datetime.now():%Y-%m-%d %H:%M:%S}.000 | ERROR   | docket.worker - no more schedules\n")
        process = station.try_command("status")
    finally:
        log.write_bytes(content)
    assert process.returncode == 1
    assert "no more schedules" in process.stderr
    assert str(log) in process.stderr
    assert len(process.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "parameters", "complaint"),
    [
        ("retrain/retrain", {"recipe": "gemma-3b"}, "is not one of"),
        ("retrain/retrain", {"overrides": ["train.epochs"]}, "does not match"),
        ("retrain/retrain", {"refresh": ["trian"]}, "is not one of"),
        ("evaluate/evaluate", {"adapter": "newest"}, "does not match"),
        ("summarize/summarize", {}, "required"),
        ("stage-train/stage-train", {"artifact": "score-1a2b3c4d"}, "does not match"),
        ("stage-train/stage-train", {}, "required"),
    ],
)
def test_form_refuses_what_cannot_be_run(
    station: LocalStation, name: str, parameters: dict[str, Any], complaint: str
) -> None:
    """The server refuses it before any worker sees it; every field of the form has a description."""
    deployment = station.get(f"/deployments/name/{name}")
    assert all(field["description"] for field in deployment["parameter_openapi_schema"]["properties"].values())
    answer = station.http.post(f"/deployments/{deployment['id']}/create_flow_run", json={"parameters": parameters})
    assert answer.status_code == 409
    assert complaint in answer.text


def test_retraining_has_its_gpu_stages_made_by_children_on_the_gpu_pool(
    station: LocalStation, retrained: dict[str, Any]
) -> None:
    """Three child runs with readable names; artifacts link to their inputs; the state message describes the run."""
    assert retrained["state_type"] == "COMPLETED", retrained["state"]["message"]
    assert retrained["work_pool_name"] == "cpu-pool"
    assert "; reused 0 of 9 stages, ran download, format train," in retrained["state"]["message"]
    children = station.children(retrained["id"])
    assert {(c["work_pool_name"], c["state_type"]) for c in children} == {("gpu-pool", "COMPLETED")}
    assert [c["name"] for c in children] == ["train llama r4 2 steps", "generate base llama", "generate tuned llama"]
    pages = {a["key"]: a["data"] for a in station.post("/artifacts/latest/filter") if a["type"] == "markdown"}
    (train,) = (key for key in pages if key.startswith("train-"))
    rows = next(key for key in pages if f"/key/{key})" in pages[train])
    assert rows.startswith("format-")
    logs = station.post("/logs/filter", logs={"flow_run_id": {"any_": [children[0]["id"]]}})
    text = "\n".join(line["message"] for line in logs)
    assert "got the GPU slot after" in text
    assert "12 of 12 rows reach the trainer" in text
    log = (station.folder / "station" / "gpu-worker.log").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", log, re.MULTILINE)  # logs have dates


def test_unchanged_retraining_touches_no_gpu_and_says_so(station: LocalStation, retrained: dict[str, Any]) -> None:
    again = station.ended(station.retrain())
    assert again["state_type"] == "COMPLETED"
    assert again["state"]["message"].startswith("nothing changed: all 9 stages reused")
    assert station.children(again["id"]) == []


def test_every_link_of_a_run_opens_also_to_what_was_made_elsewhere(
    station: LocalStation, retrained: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links of every page of a run, on a server that knows neither adapter nor dataset, as if made elsewhere."""
    for artifact in station.post("/artifacts/filter", limit=200):
        if (artifact["key"] or "").split("-")[0] in ("download", "format", "train", "generate"):
            station.http.delete(f"/artifacts/{artifact['id']}").raise_for_status()
    again = station.ended(station.retrain())
    assert again["state"]["message"].startswith("nothing changed")

    of_run = station.post("/artifacts/filter", artifacts={"flow_run_id": {"any_": [again["id"]]}}, limit=200)
    todo, seen = [(a["key"], a["data"]) for a in of_run if a["type"] == "markdown"], dict[str, int]()
    assert {key for key, _ in todo} >= {"report", "report-file", "stages", "scores", "decision"}
    while todo:
        for target in link_targets(todo.pop()[1]):
            if target in seen:
                continue
            if target.startswith("http"):
                seen[target] = httpx.get(target).status_code
                continue
            key = target.removeprefix("../../artifacts/key/")
            answer = station.http.get(f"/artifacts/{key}/latest")
            seen[target] = answer.status_code
            todo += [(key, answer.json()["data"])] if answer.is_success else []
    assert set(seen.values()) == {200}
    manifests = Store(station.folder / "store").manifests()
    (report,) = (m for m in manifests if m.stage == "report")
    url = f"{station.reports}/report/{report.id}"
    assert seen.keys() == {url, *(f"../../artifacts/key/{m.id}" for m in manifests)}
    html = station.folder / "store" / report.path / "payload" / "report.html"
    assert httpx.get(url).content == html.read_bytes()

    for name in ("DIALOGSUM_STATION", "DIALOGSUM_STORE"):
        monkeypatch.setenv(name, station.environment[name])
    assert reports_url(station.url) == station.reports  # a run from a shell links there too
    assert reports_url("http://127.0.0.1:9/api") is None
    monkeypatch.setenv("DIALOGSUM_STORE", str(station.folder))
    assert reports_url(station.url) is None  # its report is not there


def test_an_evaluation_shows_what_the_variable_added_and_keeps_a_typed_name(
    station: LocalStation, retrained: dict[str, Any]
) -> None:
    """Overrides of every run are in log, message and artifacts; a typed "Run Name" stays, a generated one does not."""
    variable = "/variables/name/dialogsum_overrides"
    station.http.patch(variable, json={"value": ["generate.limit=2"]}).raise_for_status()
    try:
        parameters = {"recipe": "smollm2-135m", "overrides": station.settings, "prompt": "brief"}
        typed = station.ended(station.start("evaluate/evaluate", "prompt of Monday", **parameters))
        drawn = station.ended(station.start("evaluate/evaluate", "upsilon368-selye-warp", **parameters))
    finally:
        station.http.patch(variable, json={"value": []}).raise_for_status()
    message = typed["state"]["message"]
    assert typed["state_type"] == "COMPLETED", message
    assert typed["name"] == "prompt of Monday"
    assert re.match(r"evaluate train-[0-9a-f]{8} with prompt brief \(smollm2-135m, generate\.limit=2\b", drawn["name"])
    assert re.match(r"train-[0-9a-f]{8} with prompt brief, 2 of 4 dialogues, generate\.limit=2\b", message)
    assert 'against the previous prompt "highlight"' in message
    assert drawn["state"]["message"].startswith("nothing changed: all 8 stages reused; ")
    logs = station.post("/logs/filter", logs={"flow_run_id": {"any_": [typed["id"]]}}, limit=200)
    messages = [line["message"] for line in logs]
    assert "overrides from the Prefect variable dialogsum_overrides: generate.limit=2" in messages
    pages = {a["key"]: a for a in station.post("/artifacts/filter", artifacts={"flow_run_id": {"any_": [typed["id"]]}})}
    assert "dialogsum\\_overrides: generate\\.limit\\=2" in pages["report"]["data"]
    assert all("2 of 4 dialogues, generate.limit=2" in pages[key]["description"] for key in ("scores", "stages"))


def test_one_stage_is_made_again_from_an_id_alone(station: LocalStation, retrained: dict[str, Any]) -> None:
    """An unknown id fails with a sentence that gives advice."""
    score = next(a["key"] for a in station.post("/artifacts/latest/filter") if (a["key"] or "").startswith("score-"))
    again = station.ended(station.start("stage-score/stage-score", artifact=score))
    assert (again["state_type"], again["name"]) == ("COMPLETED", "score rouge")
    assert Store(station.folder / "store").by_id(score).provenance.run == again["id"]
    unknown = station.ended(station.start("stage-score/stage-score", artifact="score-00000000"))
    assert unknown["state_type"] == "FAILED"
    assert "run its recipe once" in unknown["state"]["message"]


def test_a_wrong_request_is_one_line_of_the_log_and_the_states_message(station: LocalStation, tmp_path: Path) -> None:
    """Noticed before the first stage or in one: no traceback, advice for the form, and the automation fires."""
    folder = tiny_data(tmp_path / "data")
    text = (folder / "train.csv").read_text()
    (folder / "train.csv").write_text(text.replace("summary", "sumary", 1))
    hub, column = station.start("retrain/retrain", recipe="smollm2-135m"), station.retrain(f"data.source={folder}")
    for run, words in (
        (
            hub,
            "use a folder or 'sample', or unset HF_HUB_OFFLINE if this machine has internet access. Set data.source in "
            "the form's field `overrides` (data.source=…), or for all runs in the Prefect variable dialogsum_overrides",
        ),
        (column, "train: column 'summary' is missing"),
    ):
        ended = station.ended(run)
        assert ended["state_type"] == "FAILED"
        assert words in ended["state"]["message"]
        wait_until(lambda run=run: station.errors(run))
        (line,) = station.errors(run)
        assert ended["state"]["message"] in line
        assert "\n" not in line
        wait_until(lambda run=run: "dialogsum: a retraining did not complete" in station.triggered_by(run))


def test_an_updated_dataset_starts_a_retraining_by_the_default_recipe(station: LocalStation) -> None:
    """As Quick run does, without parameters: it completes with no hub, with what the variable adds for every run."""

    def begun() -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = station.post(
            "/flow_runs/filter",
            flows={"name": {"any_": ["retrain"]}},
            flow_runs={"state": {"type": {"not_any_": ["SCHEDULED"]}}},
        )
        return runs

    earlier = {run["id"] for run in begun()}
    variable = {"name": "dialogsum_overrides", "value": station.settings}
    station.http.patch("/variables/name/dialogsum_overrides", json=variable).raise_for_status()
    try:
        resource = {"prefect.resource.id": "dialogsum.dataset.mine"}
        event = {
            "occurred": datetime.now(UTC).isoformat(),
            "event": "dialogsum.dataset.updated",
            "resource": resource,
            "id": str(uuid4()),
            "payload": {},
            "related": [],
        }
        station.http.post("/events", json=[event]).raise_for_status()
        started: list[dict[str, Any]] = []
        wait_until(lambda: started.extend(run for run in begun() if run["id"] not in earlier) or started)
        ended = station.ended(started[0]["id"])
        assert ended["parameters"]["recipe"] == "quickstart"
        assert ended["state_type"] == "COMPLETED", ended["state"]["message"]
    finally:
        station.http.patch("/variables/name/dialogsum_overrides", json=variable | {"value": []}).raise_for_status()


@pytest.mark.faults
def test_killed_worker_frees_the_gpu_ends_as_crashed_and_its_run_is_sent_again(station: LocalStation) -> None:
    """SIGKILL to worker and run at once: only the lease and the heartbeat can show it."""
    station.hasten("mark runs without heartbeat as Crashed", 90)
    parent = station.retrain("train.max_steps=100000", "train.learning_rate=1e-9")
    limit = "/v2/concurrency_limits/gpu"
    wait_until(lambda: station.get(limit)["active_slots"] == 1)
    output = station.folder / "holder.txt"
    with output.open("w") as out:
        waiting = subprocess.Popen(
            [sys.executable, "-c", HOLDER],
            cwd=station.code,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env=os.environ | station.environment | {"PYTHONPATH": str(station.code), "DIALOGSUM_GPU_LIMIT": "gpu"},
        )
    wait_until(lambda: "waiting for the GPU slot" in output.read_text())
    (child,) = station.children(parent)
    station.kill("gpu-worker")
    assert "held" not in output.read_text()  # two never have it
    dead = station.try_command("status")
    assert (dead.returncode, "gpu-worker is dead" in dead.stderr) == (1, True)
    wait_until(lambda: "held" in output.read_text())
    waiting.communicate()
    assert "no heartbeat for" in station.ended(child["id"])["state"]["message"]
    assert station.run(child["id"])["state_type"] == "CRASHED"
    wait_until(lambda: len(station.children(parent)) == 2)
    station.post(f"/flow_runs/{parent}/set_state", state={"type": "CANCELLING"})
    assert station.ended(parent)["state_type"] == "CANCELLED"
    station.up()  # starts the worker anew
    assert {station.ended(c["id"])["state_type"] for c in station.children(parent)} == {"CRASHED", "CANCELLED"}


@pytest.mark.faults
def test_schedule_of_every_minute_starts_retrainings_that_complete(
    station: LocalStation, retrained: dict[str, Any]
) -> None:
    """The schedule starts the run by itself."""
    deployment = station.get("/deployments/name/retrain/retrain")["id"]
    every_minute = {
        "schedule": {"cron": "* * * * *"},
        "parameters": {"recipe": "smollm2-135m", "overrides": station.settings},
    }
    answer = station.http.post(f"/deployments/{deployment}/schedules", json=[every_minute | {"active": True}])
    (schedule,) = [each["id"] for each in answer.raise_for_status().json()]

    def completed() -> list[dict[str, Any]]:
        runs = station.post("/flow_runs/filter", flow_runs={"state": {"type": {"any_": ["COMPLETED"]}}})
        return [run for run in runs if run["auto_scheduled"] and run["created_by"]["id"] == schedule]

    try:
        wait_until(completed)
        assert "all 9 stages reused" in completed()[0]["state"]["message"]
        due, began = (datetime.fromisoformat(completed()[0][key]) for key in ("expected_start_time", "start_time"))
        assert due.second == 0
        assert timedelta(0) <= began - due < timedelta(minutes=2)
    finally:
        station.http.delete(f"/deployments/{deployment}/schedules/{schedule}").raise_for_status()


@pytest.mark.faults
@pytest.mark.row(11, "three retrainings asked for at once")
def test_retrainings_run_one_at_a_time(station: LocalStation, retrained: dict[str, Any]) -> None:
    """The others are queued, and all of them complete."""
    runs = [station.ended(run) for run in [station.retrain() for _ in range(3)]]
    assert {run["state_type"] for run in runs} == {"COMPLETED"}
    spans = sorted((run["start_time"], run["end_time"]) for run in runs)
    assert all(end <= begin for (_, end), (begin, _) in pairwise(spans))


@pytest.mark.faults
def test_a_run_from_the_command_line_is_watched_and_a_strange_flow_is_not(station: LocalStation) -> None:
    """Ours beats often enough to live, and is Crashed once it is killed; a flow at Prefect's own pace is left alone."""

    def began(*words: str) -> subprocess.Popen[bytes]:
        environment = os.environ | station.environment | {"PYTHONPATH": str(station.code)}
        return subprocess.Popen(
            [sys.executable, *words],
            cwd=station.code,
            env=environment,
            stdin=subprocess.PIPE,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def beats(run: str) -> int:
        event_filter = {
            "event": {"name": ["prefect.flow-run.heartbeat"]},
            "resource": {"id": [f"prefect.flow-run.{run}"]},
        }
        return int(station.post("/events/filter", filter=event_filter)["total"])

    def running(name: str) -> list[str]:
        runs = station.post(
            "/flow_runs/filter", flow_runs={"deployment_id": {"is_null_": True}}, flows={"name": {"any_": [name]}}
        )
        return [run["id"] for run in runs if run["state_type"] == "RUNNING"]

    automation = "mark runs without heartbeat as Crashed"
    patience = station.hasten(automation, 90)
    overrides = [
        word
        for each in (*station.settings, "train.max_steps=100000", "train.learning_rate=1e-9", "train.seed=11")
        for word in ("--set", each)
    ]
    ours = began("-m", "flows.cli", "run", "smollm2-135m", *overrides)
    strange = began("-c", STRANGE)
    try:
        wait_until(lambda: running("retrain") and running("strange"))
        (run,), (other,) = running("retrain"), running("strange")
        wait_until(lambda: beats(run) >= 5)
        assert station.run(run)["state_type"] == "RUNNING"  # for two minutes
        os.killpg(ours.pid, signal.SIGKILL)
        assert "no heartbeat for" in station.ended(run)["state"]["message"]
        assert station.run(other)["state_type"] == "RUNNING"
        assert beats(other) <= 2
    finally:
        station.hasten(automation, patience)
        for process in (ours, strange):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.faults
def test_killed_machine_costs_its_share(station: LocalStation, retrained: dict[str, Any]) -> None:
    """SIGKILL to the run of the second shard: the first is not repeated, and the result is that of one machine."""
    generated = station.folder / "store" / "4_generate"

    def predictions() -> list[bytes]:
        return [file.read_bytes() for file in generated.glob("*/payload/predictions.parquet")]

    earlier = predictions()
    # greedy decoding draws nothing: another artifact with the same predictions
    parent = station.retrain("runtime.machines=2", "runtime.generate_batch_size=1", "generate.seed=7")
    wait_until(
        lambda: (
            ("generate base llama, 2 of 2", "RUNNING")
            in {(c["name"], c["state_type"]) for c in station.children(parent)}
        )
    )
    for process in station.process("gpu-worker").children(recursive=True):
        process.send_signal(signal.SIGKILL)
    assert station.ended(parent)["state_type"] == "COMPLETED"
    assert Counter((c["name"].removeprefix("generate "), c["state_type"]) for c in station.children(parent)) == {
        ("base llama, 1 of 2", "COMPLETED"): 1,
        ("base llama, 2 of 2", "CRASHED"): 1,
        ("base llama, 2 of 2", "COMPLETED"): 1,
        ("tuned llama, 1 of 2", "COMPLETED"): 1,
        ("tuned llama, 2 of 2", "COMPLETED"): 1,
    }
    assert len(predictions()) == len(earlier) + 2
    assert set(predictions()) == set(earlier)


@pytest.mark.faults
def test_training_cancelled_in_the_ui_leaves_a_checkpoint_and_no_processes(station: LocalStation, tally: Tally) -> None:
    """The run, its child and its trainer are cancelled; the next run resumes from their checkpoint."""
    store, lost = station.folder / "store", list[Any]()

    def trainers() -> list[psutil.Process]:
        processes = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "tasks.training.worker" in words and words[-1].startswith(str(store)):
                processes.append(process)
        return processes

    def logged(run: str) -> str:
        entries = station.post("/logs/filter", logs={"flow_run_id": {"any_": [run]}}, limit=200)
        return "\n".join(entry["message"] for entry in entries)

    saved = 0
    for attempt in range(2):
        parent = station.retrain("train.max_steps=5000", "train.learning_rate=1e-9", "train.seed=9")
        wait_until(lambda parent=parent: station.children(parent))
        (child,) = station.children(parent)
        wait_until(lambda child=child: " of 5000 loss" in logged(child["id"]) or "resuming from" in logged(child["id"]))
        if attempt and f"resuming from the checkpoint after step {saved} " not in logged(child["id"]):
            lost.append(("not gone on from", saved, logged(child["id"])))
        station.post(f"/flow_runs/{parent}/set_state", state={"type": "CANCELLING"})
        ended = {station.ended(run)["state_type"] for run in (parent, child["id"])}
        wait_until(lambda: not trainers(), 30)
        steps = [
            int(file.parent.name.removeprefix("step-"))
            for file in store.glob(f".scratch/{child['parameters']['artifact']}*/**/step-*/manifest.json")
        ]
        if ended != {"CANCELLED"} or max(steps, default=0) <= saved:
            lost.append((ended, saved, steps))
        saved = max(steps, default=0)
        message = f"the checkpoint after step {saved} is kept. Retry this run, or start it again with the same settings"
        wait_until(lambda child=child, message=message: message in logged(child["id"]), 60)
        wait_until(lambda parent=parent: "their checkpoints and finished batches are kept. Retry" in logged(parent), 60)
    tally("3 cancelled in the UI while it trains", 2, lost)


@pytest.mark.faults
@pytest.mark.row(11, "SIGKILL of a worker and a run that is Pending or Cancelling")
@pytest.mark.parametrize(
    ("automation", "seconds", "killed_at", "requested", "end", "message"),
    [
        ("mark runs that never started as Crashed", 40, "PENDING", None, "CRASHED", "did not begin within"),
        (
            "finish cancellation of runs whose worker died",
            10,
            "RUNNING",
            "CANCELLING",
            "CANCELLED",
            "did not end within",
        ),
    ],
    ids=["pending", "cancelling"],
)
def test_a_run_whose_process_died_is_ended(
    station: LocalStation,
    automation: str,
    seconds: float,
    killed_at: str,
    requested: str | None,
    end: str,
    message: str,
) -> None:
    """It would be Pending or Cancelling for ever, and in the way of the next retraining."""
    patience = station.hasten(automation, seconds)
    run = station.start("evaluate/evaluate", recipe="smollm2-135m", overrides=station.settings)
    wait_until(lambda: station.run(run)["state_type"] == killed_at)
    station.kill("cpu-worker")
    if requested:
        station.post(f"/flow_runs/{run}/set_state", state={"type": requested})
    ended = station.ended(run)
    assert (ended["state_type"], message in ended["state"]["message"]) == (end, True)
    station.up()
    assert station.hasten(automation, patience) == patience  # `up` had set it back


@pytest.mark.faults
@pytest.mark.row(11, "SIGKILL of `station down` itself")
def test_pools_go_on_after_a_down_that_was_killed(station: LocalStation, retrained: dict[str, Any]) -> None:
    """`down` pauses the pools; the next `up` lets them go on, and leaves alone what people have paused."""

    def paused() -> dict[str, bool]:
        return {name: station.get(f"/work_pools/{name}")["is_paused"] for name in ("cpu-pool", "gpu-pool")}

    station.http.patch("/work_pools/gpu-pool", json={"is_paused": True}).raise_for_status()
    down = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "station", "down"],
        cwd=station.code,
        stdout=subprocess.DEVNULL,
        env=os.environ | station.environment | {"PYTHONPATH": str(station.code)},
    )
    wait_until(lambda: paused()["cpu-pool"])
    down.kill()
    down.wait()
    assert paused()["cpu-pool"]  # it was not over
    station.up()
    assert paused() == {"cpu-pool": False, "gpu-pool": True}
    station.http.patch("/work_pools/gpu-pool", json={"is_paused": False}).raise_for_status()
    again = station.start("evaluate/evaluate", recipe="smollm2-135m", overrides=station.settings)
    assert station.ended(again)["state_type"] == "COMPLETED"


@pytest.mark.faults
@pytest.mark.row(11, "station taken down while runs go on and wait")
def test_down_leaves_no_processes_although_runs_wait(station: LocalStation, retrained: dict[str, Any]) -> None:
    """No worker starts the next run in place of one that was ended; waiting runs start once the station is up again."""
    parent, children = station.training(seed=13)
    waiting = [
        station.start(
            "evaluate/evaluate", recipe="smollm2-135m", overrides=[*station.settings, f"score.bootstrap_seed={i}"]
        )
        for i in range(1000, 1004 + (os.cpu_count() or 2))
    ]
    station.command("down")
    assert station.processes() == []
    station.up()
    for run in (station.run(parent), *children):
        assert run["state_type"] in ENDED or station.run(run["id"])["state_type"] in ("CRASHED", "CANCELLED")
    ends = Counter(station.ended(run)["state_type"] for run in waiting)
    begun = (os.cpu_count() or 2) - 1  # may have had a place beside the retraining when the station went down
    assert ends["CRASHED"] <= begun
    assert ends["COMPLETED"] == len(waiting) - ends["CRASHED"]


@pytest.mark.faults
@pytest.mark.row(11, "SIGKILL of server, workers and runs together, as a power cut")
def test_after_a_power_cut_no_run_is_taken_for_alive(station: LocalStation, retrained: dict[str, Any]) -> None:
    """Nobody could say how the runs ended; they do not hold up the next retraining."""
    parent, children = station.training(seed=17)
    for process in station.processes():
        with suppress(psutil.NoSuchProcess):
            process.kill()
    station.up()
    for run in (parent, *(run["id"] for run in children)):
        assert station.ended(run, 600)["state_type"] == "CRASHED"
    assert station.ended(station.retrain())["state_type"] == "COMPLETED"


@pytest.mark.faults
def test_evaluations_that_queue_on_one_worker_all_complete(
    station: LocalStation, retrained: dict[str, Any], tally: Tally
) -> None:
    """They start at once, each with another bootstrap seed: none is lost, and each has its own complete scores."""
    store = Store(station.folder / "store")
    earlier = {m.id for m in store.manifests("score")}
    runs = [
        station.start(
            "evaluate/evaluate", recipe="smollm2-135m", overrides=[*station.settings, f"score.bootstrap_seed={i}"]
        )
        for i in range(1, QUEUED + 1)
    ]
    wait_until(lambda: all(station.run(run)["state_type"] in ENDED for run in runs), 60.0 * QUEUED)
    lost = [
        (run, ended["state"]["message"]) for run in runs if (ended := station.run(run))["state_type"] != "COMPLETED"
    ]
    published = [m for m in Store(store.root).manifests("score") if m.id not in earlier and store.verified(m.path)]
    assert len(published) == QUEUED
    tally("20 evaluations queued on one worker", QUEUED, lost)

"""`dialogsum status` and `/health` of a real station, for a person at three in the morning and for a monitor."""

import json
import os
import signal
from typing import Any

import httpx
import pytest

from flows.station.health import MAX_AGE
from tests.support.processes import run_cli
from tests.support.stations import LocalStation, wait_until

pytestmark = pytest.mark.slow


def status(station: LocalStation, **environment: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, record and standard error of `dialogsum status --json`."""
    process = run_cli("status", "--json", root=station.code, **station.environment, **environment)
    assert "Traceback" not in process.stderr
    return process.returncode, json.loads(process.stdout), process.stderr


def problems(record: dict[str, Any]) -> list[str]:
    """Without errors in the server's log, of which a busy machine may cause some."""
    return [problem for problem in record["problems"] if "errors in the server's log" not in problem]


def test_a_station_that_works_has_no_problem_and_answers_every_question(station: LocalStation) -> None:
    """A schedule that is switched off, and a full queue, are stated and no problem."""
    code, record, _ = status(station)
    assert problems(record) == []
    assert code == (1 if record["problems"] else 0)
    server = record["server"]
    schedules = {(s["deployment"], s["active"]) for s in server["schedules"]}
    assert schedules == {("retrain/retrain", True), ("gc/gc", True)}
    assert all(schedule["next_run"] > record["at"] for schedule in server["schedules"])
    assert {pool["name"]: pool["workers"] for pool in server["pools"]} == {
        "cpu-pool": ["cpu-worker"],
        "gpu-pool": ["gpu-worker"],
    }
    assert [(slot["name"], slot["taken"]) for slot in server["gpu"]] == [("gpu", 0)]
    assert {part["name"] for part in record["processes"]} == {"server", "reports", "cpu-worker", "gpu-worker"}
    assert record["disks"][0]["free_bytes"] > 0
    deployment = station.get("/deployments/name/retrain/retrain")
    path = f"/deployments/{deployment['id']}/schedules/{deployment['schedules'][0]['id']}"
    station.http.patch(path, json={"active": False}).raise_for_status()
    try:
        _, record, _ = status(station)
        assert problems(record) == []
        active = {each["deployment"]: each["active"] for each in record["server"]["schedules"]}
        assert active == {"retrain/retrain": False, "gc/gc": True}
        text = run_cli("status", root=station.code, **station.environment, COLUMNS="80").stdout
        assert "next run none: the schedule is switched off" in text
        assert max(map(len, text.splitlines())) <= max(80, 12 + len(str(station.folder)))
    finally:
        station.http.patch(path, json={"active": True}).raise_for_status()


def test_a_disk_below_the_threshold_is_a_problem(station: LocalStation) -> None:
    code, record, stderr = status(station, DIALOGSUM_MIN_FREE_GB="1000000000")
    assert code == 1
    assert any("less than 1e+09 GB (DIALOGSUM_MIN_FREE_GB)" in problem for problem in problems(record))
    assert stderr.startswith("dialogsum: attention is needed: ")


def test_a_failed_retraining_is_a_problem_with_its_message_and_its_remedy(station: LocalStation) -> None:
    """Also for a monitor, with 503, until a retraining completes."""
    run = station.start("retrain/retrain", recipe="smollm2-135m", overrides=["data.source=/nowhere"])
    assert station.ended(run)["state_type"] == "FAILED"
    code, record, _ = status(station)
    (problem,) = problems(record)
    assert code == 1
    assert "/nowhere" in problem
    assert "`prefect deployment run retrain/retrain`" in problem
    failure = record["server"]["last_failure"]
    assert (failure["id"], failure["succeeded_since"]) == (run, False)
    assert failure["url"].endswith(f"/runs/flow-run/{run}")
    wait_until(lambda: (answer := httpx.get(f"{station.reports}/health", timeout=60)).status_code == 503 and answer)
    assert any("/nowhere" in each for each in httpx.get(f"{station.reports}/health", timeout=60).json()["problems"])


def test_a_dead_worker_and_a_dead_server_are_problems_in_one_line_each(station: LocalStation) -> None:
    """A server that is stopped answers nobody; /health says so with 503 and goes on answering."""
    worker = station.process("gpu-worker")
    worker.kill()
    worker.wait()
    code, record, _ = status(station)
    assert code == 1
    assert any("gpu-worker is dead" in each and "`dialogsum station up`" in each for each in problems(record))
    server = station.process("server")
    os.kill(server.pid, signal.SIGSTOP)
    try:
        code, record, stderr = status(station)
        assert code == 1
        assert any("server does not answer" in each for each in problems(record))
        assert stderr.count("\n") == 1
        assert httpx.get(f"{station.reports}/live", timeout=60).text == "true"
        wait_until(
            lambda: any(
                "server does not answer" in each
                for each in httpx.get(f"{station.reports}/health", timeout=60 + MAX_AGE).json()["problems"]
            )
        )
    finally:
        os.kill(server.pid, signal.SIGCONT)
    station.up()
    assert all("dead" not in each and "answer" not in each for each in problems(status(station)[1]))


def test_an_unreachable_store_and_server_are_problems_not_tracebacks(station: LocalStation) -> None:
    """On a machine without a station: an object store and a server that nobody serves."""
    nowhere = {
        "DIALOGSUM_STATION": str(station.folder / "none"),
        "DIALOGSUM_STORE": "s3://bucket/store",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
    }
    process = run_cli("status", "--json", root=station.code, **(station.environment | nowhere))
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    found = json.loads(process.stdout)["problems"]
    assert json.loads(process.stdout)["champions"] is None
    assert any("s3://bucket/store does not answer" in problem for problem in found)
    assert any("http://127.0.0.1:9/api does not answer" in problem for problem in found)

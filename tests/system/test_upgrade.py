"""A store and a station of version 0.1.0 are taken over by today's code.

tests/support/version_0_1_0 has a store that commit b86b7ce made; the slow tests make another one, and a station, from a
checkout of that commit.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from artifacts.artifact_store import Store
from artifacts.champions import Champions
from flows.station.store_status import champions_in_force
from tests.support.pipelines import SUMMARY, adapter_id, expected_f1, small_overrides
from tests.support.processes import call_cli
from tests.support.stations import ENDED, LocalStation, wait_until
from tests.support.version_0_1_0 import MAKE_STORE, check_out, unpack_store
from tests.support.version_0_1_0.make_store import FAILING, WORDS

ARTIFACTS = {"download": 1, "format": 3, "train": 5, "generate": 7, "score": 5, "promote": 4, "report": 5}
"""What make_store.py leaves in the store: five trainings, the last of which had no summaries."""


def call(*words: str) -> str:
    process = call_cli(*words)
    assert process.returncode == 0, process.stderr
    return str(process.stdout)


def by_seed(store: Store) -> dict[int, str]:
    """Seed -> the adapter that was trained with it."""
    return {m.identity["config"]["train"]["seed"]: m.id for m in store.manifests("train")}


def check_taken_over(store: Store) -> None:
    """Every artifact is intact and listed, champions, history, pins and jobs are those of the older version."""
    from flows.evaluation_history import evaluations
    from tasks.execution.job import load_job
    from tasks.registry import STAGES

    assert {stage: len(store.manifests(stage)) for stage in ARTIFACTS} == ARTIFACTS
    for manifest in store.manifests():
        assert store.verified(manifest.path) == manifest
        assert load_job(store, manifest.id, STAGES).artifact == manifest.id
    adapters = by_seed(store)
    assert set(adapters) == {1, 2, 3, 4, FAILING}
    (base,) = {m.identity["config"]["model"]["revision"] for m in store.manifests("train")}
    log = Champions(store, base)
    assert [(c.action, c.champion and c.champion.adapter) for c in log.changes] == [
        ("promoted", adapters[1]),
        ("promoted", adapters[2]),
        ("promoted", adapters[4]),
        ("rolled back", adapters[2]),
    ]
    assert log.withdrawn.keys() == {adapters[4]}
    found = [(e.adapter, round(e.headline["tuned"], 2), e.decision) for e in evaluations(base)]
    assert found == [
        (adapters[seed], round(expected_f1(WORDS[seed]), 2), decision)
        for seed, decision in ((1, "promoted"), (1, None), (2, "promoted"), (3, "rejected"), (4, "promoted"))
    ]


def test_the_store_that_version_0_1_0_left_is_read_as_it_is(tmp_path: Path, store: Store) -> None:
    """No manifest, champion, pin or job needs a migration."""
    unpack_store(tmp_path)
    check_taken_over(store)


def test_commands_show_what_version_0_1_0_made(tmp_path: Path, store: Store) -> None:
    """The failed run of the older version is named too, from its job."""
    unpack_store(tmp_path)
    adapters = by_seed(store)
    assert len(json.loads(call("show", "--json"))) == sum(ARTIFACTS.values())
    for artifact in (adapters[2], *(m.id for m in store.manifests("report"))):
        assert "intact" in call("show", artifact)
    assert "82.35" in call("results")
    overview = call()
    assert f"{adapters[2]} is champion." in overview
    assert "The last run, of smollm2-135m, ended before generate tuned was finished." in overview
    assert [champion.adapter for champion in champions_in_force(store)] == [adapters[2]]
    assert json.loads(call("store", "--json"))["pinned"] == [adapters[1]]


def test_gc_keeps_the_champions_of_version_0_1_0_and_its_pins(tmp_path: Path, store: Store) -> None:
    """With all they were made from; the rest goes."""
    unpack_store(tmp_path)
    adapters = by_seed(store)
    for note in store.side_files.names("runs"):
        store.side_files.delete("runs", note)
    call("gc", "--days", "0", "--delete")
    assert {m.id for m in store.manifests("train")} == {adapters[1], adapters[2]}
    assert len(store.manifests("download")) == 1
    assert len(store.manifests("score")) == 2
    for manifest in store.manifests():
        assert store.verified(manifest.path) == manifest


def test_the_report_server_serves_reports_of_version_0_1_0(tmp_path: Path, store: Store) -> None:
    from starlette.testclient import TestClient

    from flows.station.report_server import application

    unpack_store(tmp_path)
    web = TestClient(application("127.0.0.1"), base_url="http://127.0.0.1:4201")
    page = web.get("/").text
    for report in store.manifests("report"):
        assert report.id in page
        assert web.get(f"/report/{report.id}").status_code == 200
    for manifest in store.manifests():
        assert web.get(f"/artifact/{manifest.id}").status_code == 200


@pytest.fixture(scope="module")
def older_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return check_out(tmp_path_factory.mktemp("version-0.1.0") / "code")


@pytest.mark.slow
def test_adapters_of_version_0_1_0_are_evaluated_promoted_and_rolled_back(
    older_code: Path,
    tmp_path: Path,
    store: Store,
    models: dict[str, Path],
    prefect_server: None,
    workers_inline: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store made now from a checkout of commit b86b7ce, which its champion's base model and data still fit.

    The adapter that was rolled back is promoted again by its id, and a rollback leads back to the older champion.
    """
    data = tmp_path / "data"
    made = subprocess.run(
        [sys.executable, str(MAKE_STORE), str(models["llama"]), str(data)],
        cwd=older_code,
        env=os.environ | {"PYTHONPATH": str(older_code)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-2000:]
    check_taken_over(store)
    monkeypatch.setattr("tasks.generate.run_workers", known_summaries())
    from flows import pipeline

    adapters = by_seed(store)
    settings = small_overrides("smollm2-135m", models["llama"], data, "gate.least_rows=1")
    words = [word for setting in settings for word in ("--set", setting)]
    planned = json.loads(call("plan", "smollm2-135m", *words, "--json"))["stages"]
    assert {entry["status"] for entry in planned} == {"run"}
    evaluated = pipeline.evaluate(recipe="smollm2-135m", overrides=settings, adapter="champion").to_json()
    assert adapter_id_of_scores(store, evaluated) == adapters[2]
    pipeline.promote(recipe="smollm2-135m", overrides=settings, adapter=adapters[4])
    base = store.by_id(adapters[4]).identity["config"]["model"]["revision"]
    assert Champions(store, base).current.adapter == adapters[4]  # type: ignore[union-attr]
    call("rollback", "smollm2-135m", *words)
    assert Champions(store, base).current.adapter == adapters[2]  # type: ignore[union-attr]
    trained = pipeline.retrain(
        recipe="smollm2-135m", overrides=[*settings, "train.seed=5", "train.lora.rank=2"]
    ).to_json()
    assert adapter_id(trained) not in adapters.values()
    assert Champions(store, base).current.adapter == adapters[2]  # type: ignore[union-attr]
    assert "rejected" in call("history", "smollm2-135m", *words)


def known_summaries() -> Callable[..., Any]:
    """Texts of as many words as the adapter's seed had in the older version."""
    from artifacts.schemas import FORMATTED_EVAL, read_table
    from tasks.decoding.part_files import save_part
    from tests.support.pipelines import MEASUREMENTS

    def run(module: str, configs: Any, *rest: Any) -> list[Any]:
        count, config = 3, configs[0]
        if config.adapter:
            count = WORDS[json.loads((config.adapter / "settings.json").read_text())["train"]["seed"]]
        ids = [row["id"] for row in read_table(config.rows / "prompts.parquet", FORMATTED_EVAL)]
        config.parts.mkdir()
        text = " ".join(SUMMARY.split()[:count])
        save_part([{"id": name, "prediction": text, "tokens": 1, "stop": "stop_token"} for name in ids], config.parts)
        return [MEASUREMENTS]

    return run


def adapter_id_of_scores(store: Store, summary: dict[str, Any]) -> str:
    scores = next(entry["artifact"] for entry in summary["stages"] if entry["stage"] == "score")
    return store.by_id(store.by_id(scores).inputs["tuned"].id).inputs["adapter"].id


@pytest.mark.slow
def test_a_station_of_version_0_1_0_is_taken_over_and_its_schedules_fire(
    older_code: Path, tmp_path: Path, models: dict[str, Path]
) -> None:
    """Schedules, overrides, webhook and ids of deployments stay; a run of a schedule completes with today's code.

    An `up` over the running station notes the processes of the older version; after `down` and `up` there is none.
    """
    station = LocalStation(tmp_path, models["llama"])
    unpack_store(tmp_path)
    today, station.code = station.code, older_code
    overrides = [*small_overrides("smollm2-135m", models["llama"], tmp_path / "data"), "gate.least_rows=1"]
    try:
        station.command("up", "--port", str(station.port), "--notify", "http://127.0.0.1:9/secret")
        retrain = station.get("/deployments/name/retrain/retrain")
        (variable,) = station.post("/variables/filter")
        station.http.patch(f"/variables/{variable['id']}", json={"value": overrides}).raise_for_status()
        names = {d["name"]: d["id"] for d in station.post("/deployments/filter")}
        station.code = today
        output = station.up()
        older = "started by another version of this project: server, gpu-worker, cpu-worker;"
        assert older in output
        assert "announcements go to: a webhook" in output
        assert "secret" not in output + station.progress
        station.command("down")
        every_minute = [{"schedule": {"cron": "* * * * *", "timezone": "UTC"}, "active": True}]
        output = station.up()
        assert "another version" not in output
        assert "default recipe: smollm2-135m" in output
        now = {d["name"]: d["id"] for d in station.post("/deployments/filter")}
        assert names.items() <= now.items()
        assert station.get(f"/variables/{variable['id']}")["value"] == overrides
        taken_over = station.get("/deployments/name/retrain/retrain")
        assert [(s["id"], s["active"]) for s in taken_over["schedules"]] == [
            (s["id"], s["active"]) for s in retrain["schedules"]
        ]
        assert taken_over["global_concurrency_limit"] is None
        assert len([a for a in station.post("/automations/filter") if a["name"].startswith("dialogsum: ")]) == 7
        station.http.post(f"/deployments/{retrain['id']}/schedules", json=every_minute).raise_for_status()

        def fired() -> list[dict[str, Any]]:
            runs: list[dict[str, Any]] = station.post(
                "/flow_runs/filter", deployments={"id": {"any_": [retrain["id"]]}}, sort="START_TIME_ASC"
            )
            return [run for run in runs if run["auto_scheduled"] and run["state_type"] in ENDED]

        wait_until(lambda: fired(), 600)
        assert fired()[0]["state_type"] == "COMPLETED", fired()[0]["state"]["message"]
        assert "train" in fired()[0]["state"]["message"]
    finally:
        station.command("down")
    assert station.processes() == []

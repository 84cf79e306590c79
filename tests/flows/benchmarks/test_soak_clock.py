"""A week passes: what `gc` and Prefect's server decide by is seven days older, and everything else is unchanged."""

import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from artifacts.artifact_store import Store
from artifacts.garbage_collection import GcPolicy, find_garbage
from artifacts.manifest import Provenance
from artifacts.retention import RunNotes, run_notes
from artifacts.timestamps import timestamp_now
from flows.benchmarks.soak_clock import pass_week


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Timestamps as Prefect's server writes them to SQLite."""
    with closing(sqlite3.connect(tmp_path / "prefect.db")) as connection, connection:
        connection.execute("CREATE TABLE flow_run (end_time TEXT)")
        connection.execute("INSERT INTO flow_run VALUES ('2026-03-02 01:02:03.456000'), (NULL)")
        for table in ("events", "event_resources"):
            connection.execute(f"CREATE TABLE {table} (occurred TEXT)")
            connection.execute(f"INSERT INTO {table} VALUES ('2026-11-28 10:11:12.000000')")
    return tmp_path / "prefect.db"


def test_records_are_a_week_older_and_still_valid(database: Path, store: Store, tmp_path: Path) -> None:
    """After 13 weeks an artifact is more than 90 days old; its digests hold, a run's note and scratch age with it."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "payload").write_bytes(b"x")
    made = store.publish(
        tmp_path / "out",
        stage="train",
        variant=None,
        name="made",
        key="ab" * 32,
        rows=1,
        identity={},
        inputs={},
        facts={},
        provenance=Provenance(at=timestamp_now(), seconds=0, run="test"),
    )
    RunNotes(store, "killed").add(made.id)
    scratch = store.scratch / "train-x" / "checkpoint"
    scratch.parent.mkdir(parents=True)
    scratch.write_text("x")
    for number in range(13):
        assert [m.id for m in store.manifests()] == [made.id]
        assert (made.id in find_garbage(store, GcPolicy(days=90)).kept) == (number < 13)
        pass_week(database, store)
    (aged,) = store.manifests()
    assert store.verified(aged.path).digest == made.digest
    assert datetime.fromisoformat(made.provenance.at) - datetime.fromisoformat(aged.provenance.at) == timedelta(91)
    assert datetime.now(UTC) - datetime.fromisoformat(run_notes(store)[0].at) > timedelta(days=90)
    assert time.time() - scratch.stat().st_mtime > 90 * 86400
    garbage = {item.kind: item.what for item in find_garbage(store, GcPolicy(days=90)).items}
    assert garbage == {"artifact": made.id, "run note": "killed", "scratch": "train-x"}
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("SELECT end_time FROM flow_run").fetchall() == [
            ("2025-12-01 01:02:03.456000",),
            (None,),
        ]
        assert connection.execute("SELECT occurred FROM events").fetchall() == [("2026-08-29 10:11:12.000000",)]

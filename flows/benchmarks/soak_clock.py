"""A week passes for a station: everything that it has recorded becomes seven days older.

So the periods after which a station removes something apply as they are, in a benchmark that takes minutes a week.
Call it while no run is active.
"""

import os
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

from artifacts.artifact_store import Store
from artifacts.retention import run_notes
from artifacts.timestamps import timestamp_ago

WEEK = timedelta(days=7)
AGED_COLUMNS = (("flow_run", "end_time"), ("events", "occurred"), ("event_resources", "occurred"))
"""Those by which Prefect's server decides what it removes."""


def pass_week(database: Path, store: Store) -> None:
    """Make the records in Prefect's SQLite database, and the artifacts, run notes and scratch files, a week older.

    The champion log keeps its times: when a champion was rolled back is part of the key of later decisions.
    """
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        for table, column in AGED_COLUMNS:
            older = f"strftime('%Y-%m-%d %H:%M:%f000', {column}, '-{WEEK.days} days')"
            connection.execute(f"UPDATE {table} SET {column} = {older} WHERE {column} IS NOT NULL")  # noqa: S608
    for manifest in store.manifests():
        at = _week_before(manifest.provenance.at)
        older_manifest = manifest.model_copy(update={"provenance": manifest.provenance.model_copy(update={"at": at})})
        text = older_manifest.with_checksum().model_dump_json(indent=1)
        store.backend.write(f"{manifest.path}/manifest.json", text.encode())
    for note in run_notes(store):
        older_note = note.model_copy(update={"at": _week_before(note.at)})
        store.side_files.write(older_note.model_dump_json(indent=1).encode(), "runs", f"{note.run}.json")
    for file in store.scratch.rglob("*"):
        changed = file.lstat().st_mtime - WEEK.total_seconds()
        os.utime(file, (changed, changed), follow_symlinks=False)


def _week_before(timestamp: str) -> str:
    return timestamp_ago(datetime.fromisoformat(timestamp), WEEK)

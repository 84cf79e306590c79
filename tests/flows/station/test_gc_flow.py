"""The scheduled gc: what its table shows, and that the flow removes what the command lists."""

from pathlib import Path

import pytest

from artifacts import retention
from artifacts.artifact_store import Store
from artifacts.garbage_collection import Garbage
from flows.station import gc_flow, log_rotation
from tests.support.artifacts import publish_aged


def garbage(number: int) -> Garbage:
    return Garbage(
        kind="artifact", what=f"train-{number:08x}", path="x", bytes=number, at="2026-01-02T03:04:05.6+00:00"
    )


def test_the_table_lists_the_largest_and_counts_the_others() -> None:
    """All bytes are in it, also of those that have no row of their own."""
    rows = gc_flow.table([garbage(number) for number in range(1, gc_flow.TABLE_ROWS + 4)])
    assert rows[0] == {"kind": "artifact", "name": "train-000001f7", "bytes": 503, "at (UTC)": "2026-01-02 03:04"}
    assert rows[-1] == {"kind": "others", "name": "3 more", "bytes": 6, "at (UTC)": ""}
    assert sum(row["bytes"] for row in rows) == 503 * 504 // 2
    assert gc_flow.table([garbage(1)])[-1]["name"] == "train-00000001"


def test_the_flow_removes_what_is_old_and_tells_what_and_rotates_logs(
    prefect_server: None, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pinned and young artifacts stay; its table in the UI has a row for each thing that it removed."""
    from prefect import get_client
    from prefect.settings import PREFECT_HOME, temporary_settings

    monkeypatch.setattr(log_rotation, "LIMIT", 3)
    old, pinned, young = (
        publish_aged(store, tmp_path / str(number), number, days) for number, days in ((10, 91), (20, 400), (30, 89))
    )
    retention.pin(store, pinned)
    home = tmp_path / "home"
    home.mkdir()
    (home / "server.log").write_text("long")
    with temporary_settings({PREFECT_HOME: home}):
        state = gc_flow.gc(return_state=True)
    assert state.is_completed()
    assert state.message == "removed 1 (10 bytes); kept 2 artifacts (50 bytes); rotated server.log"
    assert {m.id for m in store.manifests()} == {pinned, young}
    with get_client(sync_client=True) as client:
        (artifact,) = [each for each in client.read_artifacts() if each.key == "removed"]
    assert artifact.type == "table"
    assert old in str(artifact.data)
    assert artifact.description == "gc: removed 1 (10 bytes); kept 2 artifacts (50 bytes)"

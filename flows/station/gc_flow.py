"""The flow `gc`: what a station does by itself so that it stays within bounds.

It removes artifacts that are no longer needed, and rotates the logs of the station whose worker executes it. Prefect's
own records are removed by the server (DEFAULTS in environment.py).
"""

from typing import Any

from prefect import flow
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_HOME
from prefect.states import Completed
from rich.filesize import decimal

from artifacts.artifact_store import Store
from artifacts.garbage_collection import Days, Garbage, GcPolicy, KeptChampions, Reports, find_garbage, remove
from flows.failures import fails_in_one_line
from flows.run_names import kept_or
from flows.station.log_rotation import rotate_logs

TABLE_ROWS = 500
"""Rows of the table in the UI, the largest first; a row below states what the others take together."""


def _run_name(parameters: dict[str, Any]) -> str:
    return f"gc of what was not used for {parameters['days']:g} days"


@flow(name="gc", flow_run_name=kept_or(_run_name), persist_result=False)
@fails_in_one_line
def gc(days: Days = 90, reports: Reports = 10, champions: KeptChampions = 10) -> State[Any]:
    """Remove artifacts that are no longer needed, and rotate the station's logs.

    Champions, pinned artifacts, those of active runs, and everything that any of these was made from stay.

    Args:
        days: Keep what was made or used in so many days.
        reports: Keep so many of the newest reports, however old.
        champions: Keep so many champions of each base model: the current one, and those that rollbacks can restore.
    """
    store, policy = Store.current(), GcPolicy(days=days, reports=reports, champions=champions)
    store.check_writable()
    report = find_garbage(store, policy)
    removed = remove(store, report.items, days)
    message = (
        f"removed {len(removed)} ({decimal(sum(item.bytes for item in removed))}); kept {len(report.kept)} artifacts "
        f"({decimal(report.kept_bytes)})"
    )
    create_table_artifact(table(removed), key="removed", description=f"gc: {message}")
    rotated = rotate_logs(PREFECT_HOME.value())
    return Completed(message="; ".join([message, *(f"rotated {name}" for name in rotated)]))


def table(removed: list[Garbage]) -> list[dict[str, Any]]:
    """Rows of the table in the UI."""
    by_size = sorted(removed, key=lambda item: item.bytes, reverse=True)
    rows = [
        {"kind": item.kind, "name": item.what, "bytes": item.bytes, "at (UTC)": item.at[:16].replace("T", " ")}
        for item in by_size[:TABLE_ROWS]
    ]
    if others := by_size[TABLE_ROWS:]:
        rows.append(
            {
                "kind": "others",
                "name": f"{len(others)} more",
                "bytes": sum(item.bytes for item in others),
                "at (UTC)": "",
            }
        )
    return rows

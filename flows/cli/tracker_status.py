"""Output of `track`: for each tracker what is sent, what waits, and the last error."""

import contextlib
import io
import json

from artifacts.artifact_store import Store
from artifacts.errors import RequestError, StageError
from flows.cli.terminal import new_table, stdout_console
from flows.integrations.outbox import FOLDER, TrackerStatus, note, send_waiting
from flows.integrations.tracked_runs import run_sources
from flows.integrations.tracker import find_tracker, tracker_names
from flows.station.server_check import find_reports


def send_and_show(names: list[str], backfill: bool, as_json: bool) -> None:
    """Send what waits, with `backfill` everything in the store. StageError if something still waits.

    names: trackers; empty for those with a note in the store. RequestError if there is none, or if one cannot be used.
    """
    store = Store.current()
    names = names or [name for name in store.side_files.names(FOLDER) if name in tracker_names()]
    if not names:
        raise RequestError("nothing waits for a tracker: name one with --tracker, or run with --set track=[NAME]")
    trackers = {name: find_tracker(name) for name in names}
    find_reports()
    store.scratch.mkdir(parents=True, exist_ok=True)
    statuses: list[TrackerStatus] = []
    for name, tracker in trackers.items():
        if backfill:
            note(store, name, run_sources(store))
        with contextlib.redirect_stdout(io.StringIO()):  # some libraries print there
            statuses.append(send_waiting(store, name, tracker))
            tracker.close()
    if as_json:
        print(json.dumps({"trackers": [status.model_dump() for status in statuses]}, ensure_ascii=False))
    else:
        table = new_table("tracker", "destination", "sent", "waiting", "last error", right=("sent", "waiting"))
        for each in statuses:
            table.add_row(each.tracker, each.destination, str(each.sent), str(each.waiting), each.error)
        stdout_console().print(table)
    if waiting := [status for status in statuses if status.waiting]:
        raise StageError(f"{waiting[0].tracker}: {waiting[0].problem}")

"""What counts as an error in the log of a station's server: records as Prefect 3.8.8 writes them, shortened."""

from datetime import datetime
from pathlib import Path

import pytest

from flows.station.server_log import read_errors

NOW = datetime(2026, 11, 27, 13, 20)
BANNER = " ___ ___\n| _ \\ _ \\\n\nCheck out the dashboard at http://127.0.0.1:4200\n\n\n"
SCHEDULER = """\
2026-11-27 13:16:31.512 | ERROR   | docket.dependencies - ↩ [   348ms] schedule_recent_deployments(){…}
Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/docket/worker.py", line 1134, in _execute
    result = await execution.function(
             ^^^^^^^^^^^^^^^^^^^^^^^^^
sqlalchemy.exc.InvalidRequestError: Can't evaluate bulk DML statement; please supply a bulk_dml decorated function
"""
LOCKED = """\
2026-11-27 13:17:32.068 | ERROR   | prefect.server.utilities.messaging.memory - Failed in consume_loop
Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/prefect/server/utilities/messaging/memory.py", line 375, in _consume_loop
    await handler(message)
sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database is locked
[SQL: INSERT INTO automation_bucket (automation_id) VALUES (:automation_id)]
(Background on this error at: https://sqlalche.me/e/20/e3q8)
"""
DROPPED = (
    "2026-11-27 13:17:33.484 | WARNING | prefect.server.utilities.messaging.memory - Message failed after 4 retries "
    "and will be moved to the dead letter queue\n"
)
WARNING = "2026-11-27 13:18:29.467 | WARNING | prefect.server.events.actions - Action failed: 'Run is already over.'\n"
WEBHOOK = WARNING + "Traceback (most recent call last):\n  File x\nhttpx.HTTPStatusError: 400 Bad Request\n"


@pytest.mark.parametrize(
    ("log", "count", "locked", "lost"),
    [
        ("", 0, 0, 0),
        (BANNER, 0, 0, 0),
        (BANNER + WARNING, 0, 0, 0),
        (BANNER + SCHEDULER + WARNING + SCHEDULER, 2, 0, 0),
        (BANNER + LOCKED + LOCKED + DROPPED, 0, 2, 1),
        (WEBHOOK, 1, 0, 0),
        ("Traceback (most recent call last):\n  File x\nModuleNotFoundError: No module named 'prefect'\n", 1, 0, 0),
        (SCHEDULER.replace("2026-11-27 13:16", "2026-11-26 13:21"), 1, 0, 0),
        (SCHEDULER.replace("2026-11-27 13:16", "2026-11-26 13:16"), 0, 0, 0),
        (SCHEDULER.replace("2026-11-27 ", ""), 1, 0, 0),
    ],
    ids=["empty", "banner", "warning", "scheduler", "locked", "webhook", "no record", "yesterday", "older", "no date"],
)
def test_errors_are_counted_and_busy_database_apart(
    tmp_path: Path, log: str, count: int, locked: int, lost: int
) -> None:
    """Each error record and traceback of the last day once; a locked database, which Prefect repeats, is no error."""
    (tmp_path / "log").write_text(log, encoding="utf-8")
    errors = read_errors(tmp_path / "log", 0, NOW)
    assert (errors.count, errors.locked, errors.lost) == (count, locked, lost)


def test_last_error_is_quoted_and_what_was_logged_before_the_start_is_not_counted(tmp_path: Path) -> None:
    """The first and the last line, without the stack between them."""
    (tmp_path / "log").write_text(WEBHOOK + SCHEDULER + LOCKED, encoding="utf-8")
    errors = read_errors(tmp_path / "log", len(WEBHOOK.encode()), NOW)
    assert errors.count == 1
    assert errors.last.startswith("2026-11-27 13:16:31.512 | ERROR | docket.dependencies - ↩ [ 348ms] schedule_recent")
    assert errors.last.endswith(
        "InvalidRequestError: Can't evaluate bulk DML statement; please supply a bulk_dml decorated function"
    )
    assert "File" not in errors.last


def test_log_that_does_not_exist_has_no_errors(tmp_path: Path) -> None:
    assert read_errors(tmp_path / "log", 0, NOW).count == 0

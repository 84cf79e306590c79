"""What `bench soak` records of each week, and its table."""

import re
import stat
from contextlib import suppress
from pathlib import Path
from textwrap import fill
from typing import Any

from pydantic import ValidationError

from artifacts.errors import RequestError
from artifacts.record import Record
from artifacts.text import one_line


class Week(Record):
    """The station at the end of a week, with all workers idle. Sizes in bytes, times in seconds."""

    week: int
    disturbed: tuple[str, ...] = ()
    """What was done to the runs of the week, such as `run killed: CRASHED`."""
    decided: str
    """promoted or rejected."""
    retraining_seconds: float
    server_memory: int
    workers_memory: int
    database: int
    store: int
    artifacts: int
    logs: int
    other_files: int
    """In the station's folder and in its folder for temporary files."""
    flow_runs: int
    plan_seconds: float | None = None
    """None, as the next ones, in the weeks in which only a retraining and `gc` run."""
    history_seconds: float | None = None
    status_seconds: float | None = None
    unchanged_seconds: float | None = None


BEGIN, END = "<!-- soak: dialogsum bench soak --readme BENCHMARKS.md -->", "<!-- end of soak -->"
"""The marks between which the table is in a Markdown file."""
FIGURES = (
    ("memory of the server, MiB", "server_memory", 1 << 20),
    ("memory of both workers, MiB", "workers_memory", 1 << 20),
    ("Prefect's database, MiB", "database", 1 << 20),
    ("flow runs in it", "flow_runs", 1),
    ("store, MiB", "store", 1 << 20),
    ("artifacts in it", "artifacts", 1),
    ("logs, KiB", "logs", 1 << 10),
    ("other files of the station, KiB", "other_files", 1 << 10),
    ("`plan`, s", "plan_seconds", 1),
    ("`history`, s", "history_seconds", 1),
    ("`station status`, s", "status_seconds", 1),
    ("an unchanged run, s", "unchanged_seconds", 1),
    ("a retraining, s", "retraining_seconds", 1),
)
"""Row of the table, field of a week, divisor."""


def sizes(folder: Path) -> dict[str, int]:
    """Bytes on disk below the folder of a soak: `database`, `store`, `logs`, `other_files`."""
    result = dict.fromkeys(("database", "store", "logs", "other_files"), 0)
    for file in (each for part in ("station", "store", "tmp") for each in (folder / part).rglob("*")):
        with suppress(FileNotFoundError):
            if stat.S_ISREG((found := file.lstat()).st_mode):
                result[_kind(file.relative_to(folder))] += found.st_size
    return result


def _kind(file: Path) -> str:
    if file.parts[0] == "store":
        return "store"
    if file.name.startswith("prefect.db"):
        return "database"
    return "logs" if re.search(r"\.log(\.\d+)?$", file.name) else "other_files"


def append_week(file: Path, week: Week) -> None:
    """Add a line to a record."""
    with file.open("a", encoding="utf-8") as out:
        out.write(week.model_dump_json() + "\n")


def read_weeks(file: Path) -> list[Week]:
    """The weeks of a record. RequestError if it is unreadable or empty."""
    try:
        weeks = [Week.model_validate_json(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValidationError) as error:
        raise RequestError(f"{file} is not the record of a soak ({one_line(error, 120)})") from error
    if not weeks:
        raise RequestError(f"{file} has no weeks")
    return weeks


def table(weeks: list[Week]) -> list[dict[str, Any]]:
    """A row for each figure: in the first week, the middle one and the last, and the most of all weeks.

    Of the weeks in which commands were timed, if there are any.
    """
    timed = [week for week in weeks if week.plan_seconds is not None] or weeks
    shown = {week.week: week for week in (timed[0], timed[(len(timed) - 1) // 2], timed[-1])}
    rows = []
    for name, field, divisor in FIGURES:
        highest = max(weeks, key=lambda week: getattr(week, field) or 0)
        values = {f"week {number}": _in_units(week, field, divisor) for number, week in shown.items()}
        rows.append({"what": name} | values | {"most": f"{_in_units(highest, field, divisor)} (week {highest.week})"})
    return rows


def markdown(rows: list[dict[str, Any]], line: str) -> str:
    """The table and the remark in Markdown."""
    head = [f"| {' | '.join(rows[0])} |", "|---" * len(rows[0]) + "|"]
    cells = [f"| {' | '.join(row.values())} |" for row in rows]
    return "\n".join([*head, *cells, "", fill(line, 120, break_long_words=False)])


def remark(weeks: list[Week]) -> str:
    """The counts of a soak in one line."""
    decided = [week.decided for week in weeks]
    disturbed = [what for week in weeks for what in week.disturbed]
    counts = {name: decided.count(name) for name in ("promoted", "rejected")}
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    return (
        f"{len(weeks)} weeks: {', '.join(parts)}; {len(disturbed)} disturbances ({'; '.join(disturbed) or 'none'}); "
        "0 lost promotions, 0 runs left unfinished"
    )


def _in_units(week: Week, field: str, divisor: int) -> str:
    figure = getattr(week, field)
    if figure is None:
        return "-"
    value = figure / divisor
    return f"{value:,.0f}" if field in ("flow_runs", "artifacts") or value >= 100 else f"{value:.1f}"

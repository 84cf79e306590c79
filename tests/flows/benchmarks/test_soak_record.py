"""The table of a soak: the figures of three weeks and the highest of all, from a record on disk."""

from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import RequestError
from flows.benchmarks.soak_record import (
    BEGIN,
    END,
    FIGURES,
    Week,
    append_week,
    markdown,
    read_weeks,
    remark,
    sizes,
    table,
)
from tests.support.paths import ROOT
from tests.support.processes import call_cli


def week(number: int, **figures: Any) -> Week:
    values: dict[str, Any] = {field: divisor for _, field, divisor in FIGURES}
    return Week(**({"week": number, "decided": "rejected"} | values | figures))


def test_the_table_has_the_first_middle_and_last_week_and_the_most(tmp_path: Path) -> None:
    """Of 104 weeks: 1, 52 and 104. Values by hand: MiB of bytes, and counts as they are."""
    weeks = [week(n, store=n << 20, flow_runs=5000 - n) for n in range(1, 104)]
    weeks.append(week(104, store=1 << 19, decided="promoted", disturbed=("run killed after 3 s: Crashed",)))
    for each in weeks:
        append_week(tmp_path / "record", each)
    assert read_weeks(tmp_path / "record") == weeks
    rows = {row["what"]: row for row in table(weeks)}
    assert rows["store, MiB"] == {
        "what": "store, MiB",
        "week 1": "1.0",
        "week 52": "52.0",
        "week 104": "0.5",
        "most": "103 (week 103)",
    }
    assert rows["flow runs in it"]["most"] == "4,999 (week 1)"
    assert rows["logs, KiB"]["week 52"] == "1.0"
    assert remark(weeks).startswith("104 weeks: 1 promoted, 103 rejected; 1 disturbances (run killed after 3 s: Crash")
    lines = markdown(table(weeks), remark(weeks)).splitlines()
    assert lines[0] == "| what | week 1 | week 52 | week 104 | most |"
    assert "| store, MiB | 1.0 | 52.0 | 0.5 | 103 (week 103) |" in lines
    assert max(len(line) for line in lines) <= 120


def test_the_command_writes_the_table_of_a_record_into_a_file(tmp_path: Path) -> None:
    """Between its marks, as BENCHMARKS.md has them; what is around them stays, and a second time changes nothing."""
    for number in (1, 2):
        append_week(tmp_path / "record", week(number, artifacts=number))
    page, benchmarks = tmp_path / "page.md", (ROOT / "BENCHMARKS.md").read_text()
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert benchmarks.index(BEGIN) < benchmarks.index(END)
    command = ("bench", "soak", "--from", str(tmp_path / "record"), "--readme", str(page))
    printed = call_cli(*command)
    assert printed.returncode == 0, printed.stderr
    assert "0 lost promotions, 0 runs left unfinished" in " ".join(printed.stdout.split())
    written = page.read_text()
    assert "| artifacts in it | 1 | 2 | 2 (week 2) |" in written
    assert (written.startswith("before\n"), written.endswith("after\n"), "old" in written) == (True, True, False)
    assert call_cli(*command).returncode == 0
    assert page.read_text() == written


def test_the_table_shows_weeks_in_which_commands_were_timed() -> None:
    """The middle one of those, and the most of all weeks."""
    untimed = dict.fromkeys(("plan_seconds", "history_seconds", "status_seconds", "unchanged_seconds"))
    weeks = [week(n, store=n << 20, **({} if n in (1, 4, 8) else untimed)) for n in range(1, 10)]
    rows = {row["what"]: row for row in table(weeks)}
    assert list(rows["`plan`, s"]) == ["what", "week 1", "week 4", "week 8", "most"]
    assert rows["store, MiB"]["most"] == "9.0 (week 9)"


def test_few_weeks_have_a_column_each() -> None:
    assert list(table([week(1)])[0]) == ["what", "week 1", "most"]
    assert list(table([week(1), week(2), week(3)])[0]) == ["what", "week 1", "week 2", "week 3", "most"]


@pytest.mark.parametrize("content", ["", "{}\n", "no JSON\n", None])
def test_a_file_that_is_no_record_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "record").write_text(content)
    with pytest.raises(RequestError, match="record"):
        read_weeks(tmp_path / "record")


def test_every_file_is_counted_once_by_its_kind(tmp_path: Path) -> None:
    """Logs with those that were rotated, the database with its journal; what is elsewhere is not the station's."""
    for number, name in enumerate(
        (
            "station/prefect.db",
            "station/prefect.db-wal",
            "station/server.log",
            "station/server.log.3",
            "store/train/x.log",
            "station/server.process.json",
            "tmp/left/file",
            "data/train.csv",
        )
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * 10**number)
    assert sizes(tmp_path) == {"database": 11, "logs": 1100, "store": 10**4, "other_files": 1100000}


def test_a_folder_in_which_no_soak_has_run_is_not_resumed(tmp_path: Path) -> None:
    """Its weeks would be added to the record of another station."""
    append_week(tmp_path / "record", week(1))
    refused = call_cli("bench", "soak", "--resume", str(tmp_path), "--record", str(tmp_path / "record"))
    assert (refused.returncode, "no soak has run in this folder" in refused.stderr) == (2, True)
    assert read_weeks(tmp_path / "record") == [week(1)]

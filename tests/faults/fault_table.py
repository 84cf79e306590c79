"""The table that the fault suite ends with: row of issue 6, fault, tries, survived, lost; also with xdist workers.

A test counts its tries with the fixture `tally`; one marked `row(8, "loss is no number")` is one try as a whole.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest

FAULT = "fault"
Tally = Callable[[str, int, list[Any]], None]
"""`tally("7 disk full", tries, lost)` counts in a row of the table, and fails the test unless `lost` is empty."""


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Tally:
    def row(fault: str, tries: int, lost: list[Any]) -> None:
        record_property(FAULT, (fault, tries, len(lost)))
        print(*lost, sep="\n")  # pytest shows it where the test fails
        assert lost == [], f"{len(lost)} of {tries} lost"

    return row


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that counts in the table, so that `-m row` selects it."""
    for item in items:
        if "tally" in getattr(item, "fixturenames", ()):
            item.add_marker("row")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    report = yield
    mark = item.get_closest_marker("row")
    if mark and report.when == "call" and not report.skipped:
        if mark.args:
            row, fault = mark.args
            report.user_properties.append((FAULT, (f"{row} {fault}", 1, int(report.failed))))
        elif report.failed and not any(name == FAULT for name, _ in report.user_properties):
            row = re.search(r"Rows? (\d+)", str(item.module.__doc__))
            fault = f"{row[1] if row else 0} {item.name}, broken off"
            report.user_properties.append((FAULT, (fault, 1, 1)))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    rows: dict[tuple[int, str], tuple[int, int]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", "") != "call":
                continue
            for fault, tries, lost in (value for name, value in report.user_properties if name == FAULT):
                row, _, what = fault.partition(" ")
                counts = rows.get((int(row), what), (0, 0))
                rows[int(row), what] = (counts[0] + tries, counts[1] + lost)
    if rows:
        terminalreporter.write_sep("-", "faults")
        terminalreporter.write_line(f"{'row':>3}  {'fault':<70}{'tries':>7}{'survived':>10}{'lost':>6}")
        for (row, what), (tries, lost) in sorted(rows.items()):
            terminalreporter.write_line(f"{row:>3}  {what:<70}{tries:>7}{tries - lost:>10}{lost:>6}")


SHORT_AND_LONG = (pytest.param("short"), pytest.param("long", marks=pytest.mark.faults))

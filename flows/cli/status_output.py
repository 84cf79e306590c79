"""Output of `dialogsum status`: the verdict, the problems, then what an operator asks next; fits 80 columns."""

import shutil
import textwrap
from collections.abc import Iterator

from artifacts.text import one_line
from flows.station.schedules import next_run
from flows.station.status_records import Disk, Failure, Pool, Schedule, Status
from flows.time_labels import minute

LABEL = 11
"""Columns of the labels."""
MIN_WIDTH = 60
MESSAGE = 300
"""Characters of a message of a run, at most."""


def status_text(status: Status, width: int | None = None) -> str:
    """The text of a status.

    width: columns. None: those of the terminal, 80 without one.
    """
    width = max(MIN_WIDTH, width or shutil.get_terminal_size((80, 24)).columns)
    count = len(status.problems)
    verdict = f"{count} problem{'s' if count > 1 else ''}" if count else "OK: no problems"
    lines = [f"{verdict}, {minute(status.at)} UTC"]
    for problem in status.problems:
        lines += _wrapped(problem, width, "  - ", "    ")
    lines.append("")
    for label, text in _rows(status):
        lines += _wrapped(text, width, f"{label:{LABEL}}", " " * LABEL)
    return "\n".join(lines)


def _wrapped(text: str, width: int, first: str, later: str) -> list[str]:
    """Paths and commands stay in one piece, so that they can be copied."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _rows(status: Status) -> Iterator[tuple[str, str]]:
    server = status.server
    if server and server.answers:
        for schedule in server.schedules:
            yield from _schedule(schedule)
        if not server.schedules:
            yield "schedule", "none: no run starts by itself"
        yield (
            "queue",
            "; ".join(_queue(pool) for pool in server.pools) or "no pool: `dialogsum station up` creates them",
        )
        yield (
            "workers",
            "; ".join(f"{pool.name}: {', '.join(pool.workers) or 'none'}" for pool in server.pools) or "none",
        )
        for slot in server.gpu:
            holder = f" by {', '.join(slot.held_by) or 'a run outside of the GPU pool'}" if slot.taken else ""
            yield "GPU", f"{slot.name}: {f'taken{holder}' if slot.taken else 'free'}"
        yield from _failure(server.last_failure, status.problems)
    for champion in status.champions or ():
        since = f"since {minute(champion.since)} UTC (base model {champion.base_model})"
        yield "champion", f"{champion.adapter} {since}"
    if not status.champions:
        yield "champion", "none" if status.champions is not None else "unknown, since the store cannot be read"
    yield from (("disk", _disk(disk)) for disk in status.disks)
    yield "server", _server(status)
    yield "store", status.store or "?"
    yield from (("note", note) for note in status.notes)


def _schedule(schedule: Schedule) -> Iterator[tuple[str, str]]:
    yield "schedule", f"{schedule.deployment}, {schedule.rule}"
    last = schedule.last_run
    message = f": {one_line(last.message, MESSAGE)}" if last and last.message else ""
    yield "  last run", f"{last.state} {minute(last.at)} UTC{message}" if last else "none yet"
    yield "  next run", next_run(schedule)


def _queue(pool: Pool) -> str:
    return f"{pool.name}: {pool.waiting} waiting, {pool.running} running{', PAUSED' if pool.paused else ''}"


def _failure(failure: Failure | None, problems: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if failure is None:
        yield "failure", "none recorded"
        return
    name = " ".join(filter(None, [failure.deployment, failure.name]))
    since = "; a later run of this flow has completed" if failure.succeeded_since else ""
    yield "failure", f"{failure.state} {minute(failure.at)} UTC, {name}{since}"
    reported = any(failure.name in problem for problem in problems)  # with message and remedy
    if not failure.succeeded_since and not reported:
        yield "", one_line(failure.message or "without a message", MESSAGE)
        yield "  remedy", failure.remedy
    yield "", failure.url


def _disk(disk: Disk) -> str:
    return f"{disk.free_bytes / 1e9:,.0f} of {disk.total_bytes / 1e9:,.0f} GB free for {disk.holds} ({disk.folder})"


def _server(status: Status) -> str:
    if status.server is None:
        return f"none: no station runs on this machine ({status.station}), and PREFECT_API_URL is not set"
    ui = status.server.url.removesuffix("/api")
    return f"{ui}{'' if status.server.answers else ' DOES NOT ANSWER'}"

"""Statuses of a station, as constructed records."""

from flows.station.status_records import Status


def a_status(*problems: str) -> Status:
    """A status with these problems; its paths are nobody's business."""
    return Status(
        ok=not problems,
        at="2026-01-05T06:00:00",
        problems=problems,
        notes=(),
        store="/secret/store",
        champions=(),
        disks=(),
        station="/secret/station",
        processes=(),
        server=None,
    )

"""Timestamps as the store writes them: UTC, ISO 8601 with microseconds, so that they sort as text."""

from datetime import UTC, datetime, timedelta


def timestamp_now() -> str:
    """UTC now."""
    return timestamp_ago(datetime.now(UTC), timedelta(0))


def timestamp_ago(moment: datetime, ago: timedelta) -> str:
    """The time `ago` before `moment`."""
    return (moment - ago).astimezone(UTC).isoformat(timespec="microseconds")


def after(timestamp: str) -> str:
    """The earliest time after a timestamp."""
    return timestamp_ago(datetime.fromisoformat(timestamp), timedelta(microseconds=-1))

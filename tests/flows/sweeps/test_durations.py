"""Durations are read and written as people do."""

import pytest

from artifacts.errors import RequestError
from flows.sweeps.durations import duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("3600s", 3600), ("1h30m", 5400), ("1.5H", 5400), ("1m 5s", 65)]
)
def test_a_duration_is_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "0s", "2d", "1.2.3h", "-2h", "30m1h", "2h\n1"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match="expected a duration such as 2h"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "60 s"), (99, "99 s"), (100, "2 min"), (3599, "1 h"), (3660, "1 h 1 min"), (90000, "25 h")],
)
def test_a_duration_is_written(seconds: float, text: str) -> None:
    assert duration(seconds) == text

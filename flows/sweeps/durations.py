"""Durations as people write and read them: `1h30m`, `1 h 30 min`."""

import re

from artifacts.errors import RequestError
from artifacts.text import one_line

_NUMBER = r"(\d+(?:\.\d+)?)"
_DURATION = re.compile(rf"(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?")


def parse_duration(text: str) -> float:
    """Seconds of `2h`, `90m`, `3600s` or `1h30m`. RequestError for other texts and for 0."""
    match = _DURATION.fullmatch(text.replace(" ", "").lower())
    hours, minutes, seconds = (float(number or 0) for number in match.groups()) if match else (0.0, 0.0, 0.0)
    if not (total := 3600 * hours + 60 * minutes + seconds):
        raise RequestError(f"--budget {one_line(text, 40)!r}: expected a duration such as 2h, 90m, 3600s or 1h30m")
    return total


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 20 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return " ".join(filter(None, [f"{hours} h" if hours else "", f"{rest} min" if rest or not hours else ""]))

"""Times as people read them."""


def minute(timestamp: str) -> str:
    """`2026-01-31T12:34:56.789+00:00` -> `2026-01-31 12:34`."""
    return timestamp[:16].replace("T", " ")

"""Standard streams that are closed or cannot encode every character, and accounts without a home folder."""

import codecs
import os
import sys
from pathlib import Path

from artifacts.errors import RequestError

_ERRORS = "dialogsum_escape"


def prepare_streams() -> None:
    """Let every command read, print and end normally whatever its standard streams are.

    A closed stream becomes an empty one. A character that the encoding of a stream lacks is written as an escape such
    as \\u0411, and the first one adds a line to standard error: a result is not lost because of the terminal.
    """
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    escaped: list[str] = []

    def escape(error: UnicodeError) -> tuple[str | bytes, int]:
        if not escaped:
            escaped.append(str(getattr(error, "encoding", "")))
            print(
                f"dialogsum: this terminal's encoding, {escaped[0]}, lacks some characters: they are written as "
                "escapes such as \\u0411; set PYTHONUTF8=1 for UTF-8",
                file=sys.stderr,
            )
        return codecs.backslashreplace_errors(error)

    codecs.register_error(_ERRORS, escape)
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.stdout.reconfigure(errors=_ERRORS)  # type: ignore[union-attr]


def check_home() -> None:
    """RequestError if this account has no home folder, which Prefect, the hub's library and others look for."""
    try:
        Path.home()
    except RuntimeError:
        raise RequestError(
            "this account has no home folder: set HOME to a folder that can be written, such as HOME=/tmp/dialogsum"
        ) from None

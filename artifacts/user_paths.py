"""Paths that users give, and the folder for their files."""

from pathlib import Path

from artifacts.code_fingerprint import ROOT
from artifacts.errors import RequestError
from artifacts.text import one_line


def user_path(text: str, what: str) -> Path:
    """`text` as a path, `~` expanded; it need not exist. RequestError if no file system could hold it."""
    shown = one_line(text, 60)
    if "\0" in text or any(len(part.encode("utf-8", "replace")) > 255 for part in text.split("/")) or len(text) > 4000:
        raise RequestError(f"{what}: {shown!r} cannot be a path")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise RequestError(f"{what}: {shown!r} names a home folder that does not exist") from error


def project_folder() -> Path:
    """Folder below which the store and the station's files are by default.

    It is the checkout, or the current folder if the packages were installed from a wheel.
    """
    return ROOT if (ROOT / "pyproject.toml").is_file() else Path.cwd()

"""SideFiles: small files in the store beside the artifacts, such as Prefect's records, champion logs, pins and jobs."""

from artifacts.artifact_path import is_file_name
from artifacts.backend import StorageBackend
from artifacts.errors import RequestError


class SideFiles:
    """Reads and writes files by the parts of their path: `read("pins", "train-1a2b3c4d")`.

    Every method raises RequestError if a part is not a plain name.
    """

    def __init__(self, backend: StorageBackend) -> None:
        self._backend = backend

    def read(self, *parts: str) -> bytes | None:
        """Bytes of a file, or None if it does not exist."""
        return self._backend.read(_path(parts))

    def write(self, content: bytes, *parts: str) -> None:
        """Create or replace a file atomically."""
        self._backend.write(_path(parts), content)

    def create(self, content: bytes, *parts: str) -> bool:
        """Create a file atomically. False if it exists already; of several creators exactly one gets True."""
        return self._backend.create(_path(parts), content)

    def delete(self, *parts: str) -> None:
        """Delete a file, if it exists."""
        self._backend.delete(_path(parts))

    def names(self, *parts: str) -> list[str]:
        """Sorted names of the files in a folder; empty if there is no such folder."""
        return sorted(name for name in self._backend.entries(_path(parts)) if not name.startswith("."))

    def read_all(self, *parts: str) -> dict[str, bytes]:
        """Name -> bytes of all files in a folder, sorted by name."""
        folder = _path(parts)
        contents = self._backend.read_all(f"{folder}/{name}" for name in self.names(*parts))
        return {path.removeprefix(f"{folder}/"): contents[path] for path in sorted(contents)}

    def remove_folder(self, *parts: str) -> None:
        """Delete a folder and all files in it, if it exists."""
        self._backend.remove(_path(parts))


def _path(parts: tuple[str, ...]) -> str:
    if not all(is_file_name(part) for part in parts):
        raise RequestError(f"{'/'.join(parts)!r} is not the name of a file in the store")
    return "/".join(parts)

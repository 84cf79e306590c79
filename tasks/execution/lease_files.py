"""The files of a stage lease in the store (tasks/execution/stage_lease.py). Imports no Prefect.

<store>/leases/<stage>-<key>-<number>.json  who makes the artifact; the highest number is in force
"""

import re
from typing import NamedTuple

from pydantic import ValidationError

from artifacts.artifact_store import Store
from artifacts.record import Record


class Lease(Record):
    """The content of a file."""

    holder: str
    """Host, process and run, for people."""
    since: str
    """UTC time by the holder's clock, ISO 8601; for people, nothing is computed from it."""
    machine: str
    """The same for all processes that share local locks."""
    token: str
    """Of one holder."""
    renewals: int = 0


UNREADABLE = Lease(holder="an unknown holder", since="an unknown time", machine="", token="")


class LeaseInForce(NamedTuple):
    """A file as it was read."""

    number: int
    content: bytes

    @property
    def lease(self) -> Lease:
        try:
            return Lease.model_validate_json(self.content)
        except ValidationError:
            return UNREADABLE


class LeaseFiles:
    """The files of the lease on one artifact. Errors are those of the store."""

    def __init__(self, store: Store, stage: str, key: str) -> None:
        self.name, self.artifact = f"{stage}-{key}", f"{stage}-{key[:8]}"
        self._files = store.side_files

    def in_force(self) -> LeaseInForce | None:
        """The file with the highest number; None if nobody holds the lease."""
        for number in sorted(self._numbers(), reverse=True):
            if (content := self._files.read("leases", self._file(number))) is not None:
                return LeaseInForce(number, content)
        return None

    def create(self, number: int, lease: Lease) -> bool:
        """Create a file. False if it exists already; of several creators exactly one gets True."""
        return self._files.create(_content(lease), "leases", self._file(number))

    def write(self, number: int, lease: Lease) -> None:
        """Replace a file."""
        self._files.write(_content(lease), "leases", self._file(number))

    def delete_to(self, number: int) -> None:
        """Delete the file with this number, and those that it replaced."""
        for other in self._numbers():
            if other <= number:
                self._files.delete("leases", self._file(other))

    def _numbers(self) -> list[int]:
        names = self._files.names("leases")
        matches = (re.fullmatch(rf"{re.escape(self.name)}-(\d{{6}})\.json", name) for name in names)
        return [int(match[1]) for match in matches if match]

    def _file(self, number: int) -> str:
        return f"{self.name}-{number:06d}.json"


def _content(lease: Lease) -> bytes:
    return lease.model_dump_json(indent=1).encode()

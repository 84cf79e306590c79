"""What a tracker is: the content of a run, the methods that send it, and which trackers there are.

Each module `trackers/<name>_tracker.py` has a class derived from `Tracker`, under the name TRACKER.
"""

import os
import pkgutil
from abc import ABC, abstractmethod
from importlib import import_module
from importlib.util import find_spec
from typing import Any, ClassVar

from pydantic_core import PydanticCustomError

from artifacts.errors import RequestError
from artifacts.record import Record
from artifacts.text import did_you_mean, one_line
from flows.integrations import trackers

Points = dict[int, dict[str, float]]
"""Step -> name -> value: `curve/train_loss` and the other columns of artifacts.schemas.CURVE."""
SUFFIX = "_tracker"


class TrackedRun(Record):
    """A run as trackers get it: an adapter with its first evaluation, or a further evaluation."""

    id: str
    """Id of the adapter or of the scores: `train-1a2b3c4d`, `score-5e6f7a8b`."""
    parent: str | None
    """Id of the adapter, if the run is a further evaluation of one."""
    started: float
    """Seconds since 1970."""
    ended: float
    parameters: dict[str, str | int | float]
    curve: Points
    metrics: dict[str, float]
    """Scores x 100, ends of their intervals, diagnostics, and what the training measured of itself."""
    tags: dict[str, str]
    links: dict[str, str]
    """`report`, `adapter` or `scores`: an address, or a path in the store."""


class Tracker(ABC):
    """Sends runs to one tracker. A method may raise anything; it is called again later."""

    package: ClassVar[str]
    """Package to import."""
    environment: ClassVar[dict[str, str]] = {}
    """Environment variables that are set unless the user has set them."""

    def __init__(self) -> None:
        self.current: tuple[str, Any] = ("", None)
        """The artifact whose run is open, and the tracker's own object for that run."""

    @property
    @abstractmethod
    def destination(self) -> str:
        """Where runs go, for people. RequestError if the environment lacks it."""

    @abstractmethod
    def open(self, artifact: str, group: str) -> Any:
        """The tracker's own object for a run, which exists or is created."""

    @abstractmethod
    def add_points(self, run: Any, points: Points) -> None:
        """Add points to the learning curve of an open run; some of them may be there already."""

    @abstractmethod
    def write(self, run: TrackedRun) -> None:
        """Create a run, or bring it up to date. When it returns, the run is stored."""

    @abstractmethod
    def end(self, run: Any) -> None:
        """End an open run."""

    def opened(self, artifact: str, group: str) -> Any:
        """The open run of an artifact. Others are ended: at most one is open."""
        if self.current[0] != artifact:
            self.close()
            self.current = (artifact, self.open(artifact, group))
        return self.current[1]

    def close(self) -> None:
        """End the open run, if there is one."""
        (artifact, run), self.current = self.current, ("", None)
        if artifact:
            self.end(run)


def tracker_names() -> list[str]:
    """The names that the recipe key `track` takes."""
    modules = [module.name for module in pkgutil.iter_modules(trackers.__path__)]
    return sorted(name.removesuffix(SUFFIX) for name in modules if name.endswith(SUFFIX))


def known_tracker(name: str) -> str:
    """`name`, as pydantic validates it in a recipe."""
    if name not in tracker_names():
        raise PydanticCustomError("tracker", "Expected one of {names}", {"names": ", ".join(tracker_names())})
    return name


def find_tracker(name: str) -> Tracker:
    """RequestError if there is none of this name, if its package is missing, or if it has no destination."""
    if name not in tracker_names():
        raise RequestError(f"there is no tracker {one_line(name, 60)!r}{did_you_mean(name, tracker_names())}")
    kind: type[Tracker] = import_module(f"{trackers.__name__}.{name}{SUFFIX}").TRACKER
    if find_spec(kind.package) is None:
        raise RequestError(f"track: {name} needs its package: pip install 'dialogsum-pipeline[{name}]'")
    for variable, value in kind.environment.items():
        os.environ.setdefault(variable, value)
    tracker = kind()
    assert tracker.destination
    return tracker

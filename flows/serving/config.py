"""Settings of `dialogsum serve`: address, base model, engine and limits."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from artifacts.record import Record
from flows.listening import is_loopback

EngineName = Literal["native", "vllm"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)
Positive = Annotated[int, Field(ge=1)]


class Limits(Record):
    """What one server takes at most."""

    body_bytes: Positive = 1 << 20
    """Size of a request."""
    requests: Positive = 64
    """Requests at once, those that wait included."""
    seconds: Annotated[float, Field(gt=0)] = 120.0
    """Time for a request, and for the requests under way when the server is stopped."""
    models: Annotated[int, Field(ge=2)] = 3
    """Models in memory: a new champion is loaded while the old one finishes its requests."""


class ServeConfig(Record):
    """The options of `dialogsum serve`."""

    host: str = "127.0.0.1"
    port: int = 8000
    recipe: str | None = None
    """Recipe that names the base model; None: that of the newest champion."""
    overrides: tuple[str, ...] = ()
    engine: EngineName = "native"
    limits: Limits = Limits()
    poll_seconds: Annotated[float, Field(gt=0)] = 2.0
    """Time between two looks at the champion log, so that a new champion is loaded before a request asks for it."""

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches the server."""
        return is_loopback(self.host)

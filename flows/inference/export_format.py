"""What a format of `dialogsum export` declares, and which formats there are: one module of export_formats each."""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from artifacts.errors import RequestError
from artifacts.text import one_line
from flows.inference import export_formats
from flows.inference.model_card import CardForm
from tasks.summarization.request import SelectedModel


@dataclass(frozen=True)
class ExportRequest:
    """What is exported."""

    selected: SelectedModel
    base: str | None
    """Value of --base: where others find the base model."""
    value: str = ""
    """What follows the name of the format: `q8_0` of `gguf=q8_0`."""

    @property
    def adapter(self) -> Path:
        """Folder of the adapter."""
        assert self.selected.adapter is not None
        return self.selected.adapter

    @property
    def name(self) -> str:
        """Base model and adapter, for the name of a file: `smollm2-135m-instruct-train-1a2b3c4d`."""
        return self.selected.name.replace(" ", "-").replace("/", "-")


def accept(request: ExportRequest) -> None:
    """Refuse nothing."""


@dataclass(frozen=True)
class ExportFormat:
    """One format."""

    name: str
    card: Callable[[ExportRequest], CardForm]
    """What the model card says about the folder."""
    write: Callable[[ExportRequest, Path], None]
    """Write the folder, which is new or empty; the model card is added afterwards."""
    refuse: Callable[[ExportRequest], None] = accept
    """RequestError, with what to do instead, if the format cannot represent the model. It loads no weights."""
    values: tuple[str, ...] = ()
    """What may follow the name; empty if nothing may."""
    gguf_file: Callable[[ExportRequest], str] | None = None
    """Name of the file that `--score` reads back, as a base model; None if it cannot score the format."""


def formats() -> dict[str, ExportFormat]:
    """Every format by its name."""
    modules = [module.name for module in pkgutil.iter_modules(export_formats.__path__)]
    found: list[ExportFormat] = [import_module(f"{export_formats.__name__}.{name}").FORMAT for name in modules]
    return {each.name: each for each in sorted(found, key=lambda each: each.name)}


def find_format(text: str) -> tuple[ExportFormat, str]:
    """`gguf=q8_0` -> the format and its value. RequestError if there is no such format, or no such value of it."""
    name, _, value = text.partition("=")
    known = formats()
    if name not in known:
        raise RequestError(f"--format: there is no format {one_line(name, 40)!r}; expected {', '.join(known)}")
    if value not in (known[name].values or ("",)):
        expected = " or ".join(f"{name}={each}" for each in known[name].values) or name
        raise RequestError(f"{one_line(text, 40)!r} is no form of the format {name}; expected {expected}")
    return known[name], value

"""What README says of commands and stages, made from the code: `make readme` writes it, a test compares."""

from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from flows.cli import app
from flows.results import put
from tasks.stages import STAGES

COMMON = ("--set", "--json", "--debug", "--help")
"""Options that README explains once."""
README = Path(__file__).resolve().parent.parent / "README.md"


def commands() -> str:
    """A row a command: its arguments, its own options, and the first sentence of its help."""
    command: Any = typer.main.get_command(app)
    rows = [
        f"| `{' '.join(filter(None, [name, _arguments(found)]))}` | {_options(found)} | {_sentence(found.help)} |"
        for name, found in command.commands.items()
    ]
    return "\n".join(["| dialogsum … | options | |", "|---|---|---|", *rows])


def stages() -> str:
    """A row a stage: the first line of its module, `name: what it reads -> what it writes.`, and its work pool."""
    rows = []
    for name, stage in STAGES.items():
        module = import_module(stage.function.__module__)
        first = (module.__doc__ or "").split("\n")[0]
        reads, _, writes = first.removeprefix(f"{name}: ").rstrip(".").partition(" -> ")
        rows.append(f"| [`{name}`](tasks/{Path(str(module.__file__)).name}) | {reads} | {writes} | {stage.pool} |")
    return "\n".join(["| stage | reads | writes | pool |", "|---|---|---|---|", *rows])


BLOCKS = {"commands": commands, "stages": stages}


def marks(name: str) -> tuple[str, str]:
    """What stands in README before a block and after it."""
    return f"<!-- {name}: make readme -->", f"<!-- end of {name} -->"


def _arguments(command: Any) -> str:
    if hasattr(command, "commands"):
        return " / ".join(command.commands)
    given = [p for p in command.params if p.param_type_name == "argument"]
    names = [(p.metavar or p.name.upper(), p.required) for p in given]
    return " ".join(name if required or name.startswith("[") else f"[{name}]" for name, required in names)


def _options(command: Any) -> str:
    found = [p.opts[0] for p in command.params if p.param_type_name == "option"]
    return " ".join(f"`{name}`" for name in found if name not in COMMON)


def _sentence(text: str) -> str:
    return " ".join(text.split()).split(". ")[0].rstrip(".")


if __name__ == "__main__":
    for name, made in BLOCKS.items():
        put(README, *marks(name), made())

"""What README says of commands and stages, made from the code: `make readme` writes it, a test compares."""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from flows.cli.main import app
from flows.cli.results_table import put
from tasks.registry import STAGES

COMMON = ("--set", "--json", "--debug", "--help")
"""Options that README explains once."""
ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "README.md"
SHOWN = ("recipes", "prompts", "sample")
"""Folders of data beside the modules."""


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


def tree() -> str:
    """A line a package and a file: the first line of its docstring. Packages come before the files beside them."""
    return "\n".join(["```", *(line for top in ("flows", "tasks", "artifacts") for line in _folder(ROOT / top)), "```"])


def _folder(folder: Path, indent: str = "") -> list[str]:
    lines = [f"{indent}{folder.name}/"]
    entries = sorted(folder.iterdir(), key=lambda entry: (entry.is_file(), entry.name))
    for entry in entries:
        if entry.is_dir() and any(entry.glob("__init__.py")):
            lines += _folder(entry, indent + "  ")
        elif entry.suffix == ".py" and entry.name != "__init__.py":
            first = (ast.get_docstring(ast.parse(entry.read_text(encoding="utf-8"))) or "").split("\n")[0]
            lines.append(f"{indent}  {entry.name:<24} {first}")
        elif entry.name == entry.stem or entry.suffix in {".j2", ".css", ".js"}:
            lines += (
                [f"{indent}  {entry.name}{'/' if entry.is_dir() else ''}"]
                if entry.name in SHOWN or entry.is_file()
                else []
            )
    return lines


BLOCKS = {"commands": commands, "stages": stages, "tree": tree}


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

"""Blocks of README that are generated from the code: `make readme` writes them, a test compares them."""

import ast
from importlib import import_module
from pathlib import Path
from typing import Any

import typer

from flows.cli.main import app
from flows.cli.results_table import replace_block
from tasks.registry import STAGES

COMMON = ("--set", "--json", "--debug", "--help")
"""Options that README explains once, outside the table of commands."""
ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "README.md"
SHOWN = ("recipes", "prompts", "sample")
"""Data folders that the tree lists."""


def commands() -> str:
    """A row for each command: its arguments, its own options, and the first sentence of its help."""
    group: Any = typer.main.get_command(app)
    rows = []
    for name, command in group.commands.items():
        usage = " ".join(filter(None, [name, _arguments(command)]))
        rows.append(f"| `{usage}` | {_options(command)} | {_first_sentence(command.help)} |")
    return "\n".join(["| dialogsum … | options | |", "|---|---|---|", *rows])


def stages() -> str:
    """A row for each stage: what it reads and writes, and its work pool.

    The first line of a stage's module is `name: what it reads -> what it writes.`
    """
    rows = []
    for name, stage in STAGES.items():
        module = import_module(stage.function.__module__)
        first = (module.__doc__ or "").split("\n")[0]
        reads, _, writes = first.removeprefix(f"{name}: ").rstrip(".").partition(" -> ")
        rows.append(f"| [`{name}`](tasks/{Path(str(module.__file__)).name}) | {reads} | {writes} | {stage.pool} |")
    return "\n".join(["| stage | reads | writes | pool |", "|---|---|---|---|", *rows])


def tree() -> str:
    """A line for each package and each file, with the first line of its docstring; packages come before files."""
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
    """The lines before and after a block in README."""
    return f"<!-- {name}: make readme -->", f"<!-- end of {name} -->"


def _arguments(command: Any) -> str:
    if hasattr(command, "commands"):
        return " / ".join(command.commands)
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    names = [(p.metavar or p.name.upper(), p.required) for p in arguments]
    return " ".join(name if required or name.startswith("[") else f"[{name}]" for name, required in names)


def _options(command: Any) -> str:
    options = [p.opts[0] for p in command.params if p.param_type_name == "option"]
    return " ".join(f"`{option}`" for option in options if option not in COMMON)


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).split(". ")[0].rstrip(".")


if __name__ == "__main__":
    for name, block in BLOCKS.items():
        replace_block(README, *marks(name), block())

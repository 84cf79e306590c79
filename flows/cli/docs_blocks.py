"""The generated blocks of README and docs: `make docs` writes them, and a test compares them with the code."""

import ast
import inspect
from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from artifacts.cache_key import NotIdentity
from flows.architectures import engine_rows
from flows.cli import results_table
from flows.cli.main import app
from flows.recipe import Recipe
from tasks.registry import STAGES
from tasks.transcripts.conversation import parse_conversation
from tasks.transcripts.formats import FORMATS
from tasks.transcripts.records import Loss, LossKind

ROOT = Path(__file__).resolve().parent.parent.parent
COMMON_OPTIONS = ("--set", "--json", "--debug", "--help")
"""Options that docs/reference/commands.md explains once."""
DATA_FOLDERS = ("recipes", "prompts", "sample")
"""Folders without modules that the source tree shows."""
BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
NO_BOUND = 10**6
"""Larger bounds only keep absurd values out: the reference leaves them out."""
TEMPLATE_SUFFIXES = {".j2", ".css", ".js"}


class Block(NamedTuple):
    """A generated block: the page that it is in, and the function that makes it."""

    page: str
    make: Callable[[], str]

    @property
    def file(self) -> Path:
        return ROOT / self.page


def commands() -> str:
    """An overview with one row per command, then a section per command with its help, arguments and options."""
    root: Any = typer.main.get_command(app)
    rows = [f"| [`{name}`](#dialogsum-{name}) | {_first_sentence(sub.help)} |" for name, sub in root.commands.items()]
    sections = [line for name, sub in root.commands.items() for line in _command_section(sub, name)]
    return "\n".join(["| dialogsum … | |", "|---|---|", *rows, "", *sections])


def stages() -> str:
    """One row per stage, from the first line of its module: `name: what it reads -> what it writes.`."""
    rows = []
    for name, stage in STAGES.items():
        module = import_module(stage.function.__module__)
        first = (module.__doc__ or "").split("\n")[0]
        reads, _, writes = first.removeprefix(f"{name}: ").rstrip(".").partition(" -> ")
        file = Path(str(module.__file__)).name
        rows.append(f"| [`{name}`](../../tasks/{file}) | {reads} | {writes} | {stage.pool} |")
    return "\n".join(["| stage | reads | writes | pool |", "|---|---|---|---|", *rows])


def recipe_keys() -> str:
    """One row per key of a recipe: name, type and range, default, and its docstring in tasks/config.py."""
    rows = list(_keys(Recipe, ""))
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows])


def transcript_formats() -> str:
    """One row per format of transcripts: its name, what has it, how it is known, and an example."""
    rows = []
    for form in FORMATS:
        conversation = parse_conversation(form.example)
        example = "<br>".join(f"`{line.strip()}`" for line in form.example.split("\n") if line.strip()).replace(
            "|", "\\|"
        )
        rows.append(f"| `{form.name}` | {form.title} | {conversation.reason} | {example} |")
    return "\n".join(["| `--format` | what has it | reason, for the example | example |", "|---|---|---|---|", *rows])


def losses() -> str:
    """One row per kind of loss, as it is said."""
    rows = [f"| `{kind.name.lower()}` | {Loss(kind, 2).sentence} |" for kind in LossKind]
    return "\n".join(["| kind in JSON | line on standard error |", "|---|---|", *rows])


def engines() -> str:
    """One row per base model that the project knows: its size, what trains it and what decodes it."""
    rows = [
        f"| `{row.recipe}` | {row.base} | {row.architecture} | {row.parameters / 1e9:.2f} billion | {row.trains} | "
        f"{row.decodes} |"
        for row in engine_rows()
    ]
    header = "| recipe | base model | architecture | parameters | trains with | decodes with |"
    return "\n".join([header, "|---|---|---|---|---|---|", *rows])


def tree() -> str:
    """One line per package and file of the source, each file with the first line of its docstring."""
    lines = [line for top in ("flows", "tasks", "artifacts") for line in _folder(ROOT / top, "")]
    return "\n".join(["```", *lines, "```"])


def result() -> str:
    """The best tuned model of the results table in BENCHMARKS.md, and its base model."""
    header, rows, protocol = _results()
    best = max((row for row in rows if "tuned" in row[0]), key=lambda row: float(row[2].split()[0]))
    base = next(row for row in rows if row[1] == best[1] and "tuned" not in row[0])
    return _scores_table(header, [base, best], protocol)


def article() -> str:
    """Scores of the article's recipe and ours, base and tuned, decoded greedily, from the table in BENCHMARKS.md."""
    header, rows, protocol = _results()
    greedy = [row for row in rows if row[0].endswith("greedy")]
    return _scores_table(header, sorted(greedy, key=lambda row: not row[1].startswith("article")), protocol)


BLOCKS = {
    "result": Block("README.md", result),
    "article": Block("README.md", article),
    "commands": Block("docs/reference/commands.md", commands),
    "recipe-keys": Block("docs/reference/recipe-keys.md", recipe_keys),
    "stages": Block("docs/reference/artifacts.md", stages),
    "transcript-formats": Block("docs/reference/transcript-formats.md", transcript_formats),
    "losses": Block("docs/reference/transcript-formats.md", losses),
    "engines": Block("docs/how-to/own-model.md", engines),
    "tree": Block("docs/reference/source-tree.md", tree),
}


def marks(name: str) -> tuple[str, str]:
    """The comments before and after a block."""
    return f"<!-- {name}: make docs -->", f"<!-- end of {name} -->"


def _command_section(command: Any, name: str) -> Iterator[str]:
    """Heading, usage, help, and a table of arguments and options; a group has a section for each of its commands."""
    yield from [f"{'####' if ' ' in name else '###'} dialogsum {name}", ""]
    if hasattr(command, "commands"):
        yield from [_one_line(command.help), ""]
        for child, subcommand in command.commands.items():
            yield from _command_section(subcommand, f"{name} {child}")
        return
    yield from [f"`dialogsum {name}{_arguments(command)}`", "", _one_line(command.help), ""]
    parameters = [p for p in command.params if p.opts[0] not in COMMON_OPTIONS]
    if parameters:
        yield from ["| argument or option | |", "|---|---|"]
        yield from (f"| `{_parameter_name(p)}` | {_one_line(p.help)}{_parameter_default(p)} |" for p in parameters)
        yield ""
    common = [f"`{p.opts[0]}`" for p in command.params if p.opts[0] in COMMON_OPTIONS]
    if common:
        yield from [f"Common options: {', '.join(common)}.", ""]


def _arguments(command: Any) -> str:
    arguments = [(p.metavar or p.name.upper(), p.required) for p in command.params if p.param_type_name == "argument"]
    return "".join(f" {name if required or name.startswith('[') else f'[{name}]'}" for name, required in arguments)


def _parameter_name(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    return " ".join(filter(None, [", ".join(parameter.opts), parameter.metavar])).replace("|", "\\|")


def _parameter_default(parameter: Any) -> str:
    default = parameter.default
    shown = isinstance(default, str | int | float) and not isinstance(default, bool) and default != ""
    return f" Default: `{default}`." if shown else ""


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


def _first_sentence(text: str) -> str:
    return _one_line(text).split(". ")[0].rstrip(".")


def _keys(section: type[BaseModel], prefix: str) -> list[str]:
    """Rows of a section and of the sections inside it, without `name`, which is the name of the file."""
    rows = []
    docstrings, properties = _field_docstrings(section), section.model_json_schema()["properties"]
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            rows += _keys(field.annotation, f"{prefix}{name}.")
        elif prefix or name != "name":
            meaning = _meaning(field, docstrings.get(name, ""))
            rows.append(f"| `{prefix}{name}` | {_type(properties[name])} | {_default(field)} | {meaning} |")
    return rows


def _field_docstrings(section: type[BaseModel]) -> dict[str, str]:
    """Field name -> the string below it in the source."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(section)).body if isinstance(node, ast.ClassDef))
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }


def _type(schema: dict[str, Any]) -> str:
    """Type and range, from a property's JSON schema."""
    if "anyOf" in schema:
        return " or ".join(_type(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    bounds = [f"{sign} {schema[name]:g}" for name, sign in BOUNDS.items() if abs(schema.get(name, NO_BOUND)) < NO_BOUND]
    name = {"null": "none"}.get(schema["type"], schema["type"])
    return " ".join([f"list of {schema['items']['type']}s" if name == "array" and "items" in schema else name, *bounds])


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    value = field.default
    return "none" if value is None else f"`{', '.join(map(str, value)) if isinstance(value, tuple) else value}`"


def _meaning(field: FieldInfo, docstring: str) -> str:
    reasons = [meta.why for meta in field.metadata if isinstance(meta, NotIdentity)]
    return " ".join([docstring, *(f"*Not part of the cache key: {reason}.*" for reason in reasons)]).strip()


def _folder(folder: Path, indent: str) -> list[str]:
    lines = [f"{indent}{folder.name}/"]
    for entry in sorted(folder.iterdir(), key=lambda entry: (entry.is_file(), entry.name)):
        if entry.is_dir() and (entry / "__init__.py").exists():
            lines += _folder(entry, indent + "  ")
        elif entry.name in DATA_FOLDERS:
            lines.append(f"{indent}  {entry.name}/")
        elif entry.suffix == ".py" and entry.name != "__init__.py":
            docstring = ast.get_docstring(ast.parse(entry.read_text(encoding="utf-8"))) or ""
            lines.append(f"{indent}  {entry.name:<24} {docstring.splitlines()[0]}".rstrip())
        elif entry.suffix in TEMPLATE_SUFFIXES:
            lines.append(f"{indent}  {entry.name}")
    return lines


def _results() -> tuple[list[str], list[list[str]], str]:
    """Header, rows and protocol line of the results table in BENCHMARKS.md."""
    text = (ROOT / "BENCHMARKS.md").read_text(encoding="utf-8")
    lines = text.split(results_table.BEGIN)[1].split(results_table.END)[0].strip().splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    protocol = next(part for part in "\n".join(lines).split("\n\n") if part.startswith("F1 x 100"))
    return table[0], table[2:], " ".join(protocol.split())


def _scores_table(header: list[str], rows: list[list[str]], protocol: str) -> str:
    shown = [header.index(name) for name in ("system", "recipe", "rouge1", "rouge2", "rougeL", "dialogues")]
    cells = [[header[i] for i in shown], ["---"] * len(shown), *([row[i] for i in shown] for row in rows)]
    return "\n".join([*(f"| {' | '.join(row)} |" for row in cells), "", protocol])


if __name__ == "__main__":
    for name, block in BLOCKS.items():
        results_table.replace_block(block.file, *marks(name), block.make())

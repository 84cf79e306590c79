"""Arguments and options that several commands share, and their completion in a shell."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Literal

import typer


@dataclass
class Invocation:
    """Options of one call of the command line that its error handling needs; Typer's context holds it."""

    debug: bool = False


def _set_debug(context: typer.Context, debug: bool) -> bool:
    context.ensure_object(Invocation).debug |= debug
    return debug


def completed(names: Callable[[], list[str]]) -> Callable[[str], list[str]]:
    """Completion function for a shell: the names that begin as typed, and none if the names cannot be read."""

    def matching(incomplete: str) -> list[str]:
        with suppress(Exception):  # a traceback would appear in the middle of the line that is being typed
            return [name for name in names() if name.startswith(incomplete)]
        return []

    return matching


def stage_names() -> list[str]:
    """The stages of a run. Imported on call: `--help` does not need the store."""
    from artifacts.artifact_path import STAGE_NUMBERS

    return [name for name in STAGE_NUMBERS if name != "review"]


def _recipes() -> list[str]:
    from flows.recipe import RECIPES

    return sorted(file.stem for file in RECIPES.glob("*.yaml"))


def _prompts() -> list[str]:
    from flows.inference.prompt_library import names

    return names()


def _adapters() -> list[str]:
    return ["champion", "latest", "none", *_ids("train")]


def _ids(stage: str | None = None) -> list[str]:
    from artifacts.artifact_path import artifact_id
    from artifacts.artifact_store import Store

    return [artifact_id(folder) for folder in Store.current().folders(stage)]


def _formats() -> list[str]:
    from tasks.transcripts.formats import FORMAT_NAMES

    return list(FORMAT_NAMES)


def _keys() -> list[str]:
    from flows.recipe import Recipe, all_keys

    return [f"{key}=" for key in all_keys(Recipe)]


recipes, prompts, adapters, ids = completed(_recipes), completed(_prompts), completed(_adapters), completed(_ids)
formats = completed(_formats)

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="Name of a recipe in flows/recipes, or a file.", autocompletion=recipes)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="section.key=value",
        help="Override a setting of the recipe; repeatable.",
        autocompletion=completed(_keys),
    ),
]
Refresh = Annotated[
    list[str] | None,
    typer.Option(
        "--refresh",
        metavar="STAGE",
        help="Rerun this stage even if nothing changed: download, format, train …; repeatable.",
        autocompletion=completed(stage_names),
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Show the traceback of an error and Prefect's own log.",
        callback=_set_debug,
        is_eager=True,  # so that it applies to errors in the options beside it
    ),
]
ArtifactId = Annotated[str, typer.Argument(metavar="ID", help="Id of an artifact.", autocompletion=ids)]

Over = Annotated[
    list[str] | None,
    typer.Option(
        "--over",
        metavar="KEY=VALUE,VALUE",
        help="Values of a key that a sweep tries, or with --trials a range KEY=LOW..HIGH; repeatable.",
        autocompletion=completed(_keys),
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(
        "--trials",
        metavar="N",
        min=1,
        max=1000,
        help="Try N combinations that a sampler proposes, the recipe as it is among them; default: all combinations.",
    ),
]
Sampler = Annotated[
    Literal["tpe", "random"],
    typer.Option("--sampler", metavar="tpe|random", help="What proposes them; tpe learns from the trials so far."),
]
SamplerSeed = Annotated[int, typer.Option("--seed", metavar="N", min=0, max=2**32 - 1, help="Seed of the sampler.")]

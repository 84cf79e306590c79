"""Arguments and options that several commands have, and what a shell completes them with."""

from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import typer


def completed(names: Callable[[], list[str]]) -> Callable[[str], list[str]]:
    """What a shell offers for a word that was begun; nothing where the names are not to be had."""

    def offer(incomplete: str) -> list[str]:
        with suppress(Exception):  # a traceback would stand in the middle of the line that is typed
            return [name for name in names() if name.startswith(incomplete)]
        return []

    return offer


def stage_names() -> list[str]:
    """Those of artifacts/artifact_store.py, which nobody needs for `--help`."""
    from artifacts.artifact_store import NUMBERS

    return list(NUMBERS)


def _recipes() -> list[str]:
    from flows.recipe import RECIPES

    return sorted(file.stem for file in RECIPES.glob("*.yaml"))


def _prompts() -> list[str]:
    from flows.inference.prompt_library import names

    return names()


def _adapters() -> list[str]:
    return ["champion", "latest", "none", *_ids("train")]


def _ids(stage: str | None = None) -> list[str]:
    from artifacts.artifact_store import Store, id_of

    return [id_of(folder) for folder in Store.current().folders(stage)]


def _keys() -> list[str]:
    from flows.recipe import Recipe, all_keys

    return [f"{key}=" for key in all_keys(Recipe)]


recipes, prompts, adapters, ids = completed(_recipes), completed(_prompts), completed(_adapters), completed(_ids)

RecipeName = Annotated[str, typer.Argument(help="A name in flows/recipes, or a file.", autocompletion=recipes)]
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
        "--refresh", metavar="STAGE", help="Rerun this stage even if nothing changed: download, format, train …",
        autocompletion=completed(stage_names),
    ),
]  # fmt: skip
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error and Prefect's own log.")]
ArtifactId = Annotated[str, typer.Argument(metavar="ID", autocompletion=ids)]

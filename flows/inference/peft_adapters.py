"""Adapters from outside the store: a folder or hub repository in peft's format, and the recipe of its base model."""

import json
from pathlib import Path
from typing import Any

from artifacts.errors import RequestError
from artifacts.text import one_line
from artifacts.user_paths import user_path
from flows.recipe import RECIPES, load_recipe
from tasks.config import ResolvedModel
from tasks.sources.hub import is_commit
from tasks.sources.resolve import refuse_git_lfs_pointer

FILES = ("adapter_config.json", "adapter_model.safetensors")


def fetch_adapter(adapter: str) -> Path | None:
    """The folder of an adapter from outside the store: a local one, or a downloaded hub repository.

    None if `adapter` is neither. RequestError if the folder lacks a file or the download fails.
    """
    folder = user_path(adapter, "--adapter")
    if folder.is_dir():
        for file in FILES:
            if not (folder / file).is_file():
                raise RequestError(f"--adapter: no {file} in {folder}; expected an adapter in peft's format")
            refuse_git_lfs_pointer(folder / file, "--adapter")
        return folder
    if adapter.startswith((".", "/", "~")):
        raise RequestError(f"--adapter: there is no folder {folder}")
    if adapter.count("/") != 1:
        return None
    from huggingface_hub import snapshot_download

    try:
        fetched = Path(snapshot_download(adapter, allow_patterns=list(FILES)))
    except Exception as error:  # no such repository, no licence, no network: each library has its own classes
        raise RequestError(
            f"--adapter: cannot fetch {adapter} ({one_line(error, 120)}); check the name, HF_TOKEN and the network"
        ) from error
    return fetch_adapter(str(fetched))


def base_name(folder: Path) -> str:
    """The base model that an adapter names. RequestError if adapter_config.json cannot be parsed."""
    try:
        config: Any = json.loads((folder / FILES[0]).read_text())
        return str(config["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RequestError(f"--adapter: {folder / FILES[0]} cannot be parsed ({one_line(error, 80)})") from error


def base_differs(folder: Path, model: ResolvedModel) -> str:
    """One sentence if an adapter names another base model, or another commit of it, than `model`; else empty.

    It is no error: the same weights may have another name here.
    """
    named, revision = base_name(folder), json.loads((folder / FILES[0]).read_text()).get("revision")
    own_names = {model.origin, model.location, Path(model.location).name, model.name}
    if named not in own_names and Path(named).name not in own_names:
        return f"the adapter names the base model {one_line(named, 80)}, but {model.origin} is used"
    if revision and is_commit(str(revision)) and is_commit(model.revision) and revision != model.revision:
        return f"the adapter names commit {revision[:8]} of its base model, but {model.revision[:8]} is used"
    if revision and not is_commit(model.revision):
        return f"the adapter names revision {one_line(revision, 40)} of its base model, which a folder does not have"
    return ""


def recipe_of_base(base: str) -> str:
    """A recipe with this base model, preferably one with the same chat template in training and generation."""
    recipes = [load_recipe(file.stem) for file in sorted(RECIPES.glob("*.yaml"))]
    for recipe in sorted(
        recipes, key=lambda recipe: (recipe.evaluation.turns is not None, recipe.name != "quickstart")
    ):
        if base in (recipe.model.source, recipe.model.source.split("/")[-1]):
            return recipe.name
    raise RequestError(
        f"--adapter: no recipe uses its base model {one_line(base, 80)!r}; "
        "name it with --recipe NAME --set model.source=… --set model.turns=…"
    )

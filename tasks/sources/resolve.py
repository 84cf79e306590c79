"""Pin the data source and the base model of a recipe to their bytes, once, before anything runs.

A hub name becomes a commit, a folder becomes the sha256 of its files.
"""

import importlib.util
import json
import os
import re
from pathlib import Path
from typing import Literal

from artifacts.cache_key import sha256
from artifacts.errors import RequestError
from artifacts.text import one_line
from artifacts.user_paths import user_path
from tasks.config import DataConfig, ModelConfig, ResolvedData, ResolvedModel
from tasks.sources.file_digests import file_digest
from tasks.sources.hub import hub_commit

SAMPLE = Path(__file__).resolve().parent / "sample"
SPLITS = ("train", "validation", "test")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?")
_GIT_LFS = b"version https://git-lfs.github.com/spec/"
_MODEL_FILES = (".safetensors", ".json", ".model", ".jinja", ".gguf", ".txt")


def resolve_data(config: DataConfig) -> ResolvedData:
    """Pin a data source. RequestError if it does not exist, is incomplete or cannot be reached."""
    source = config.source
    if source == "sample" or _is_path(source, "data.source"):
        folder = SAMPLE if source == "sample" else user_path(source, "data.source")
        if not folder.is_dir():
            raise RequestError(f"data.source: no folder {folder}; give an existing one, a hub id, or 'sample'")
        if config.revision:
            raise RequestError("data.revision belongs to a hub dataset; a folder is identified by its bytes: remove it")
        files = [folder / f"{split}.csv" for split in SPLITS]
        for file in files:
            if not file.is_file():
                raise RequestError(
                    f"data.source: no file {file}; expected train.csv, validation.csv and test.csv in {folder}"
                )
            refuse_git_lfs_pointer(file, "data.source")
        revision = sha256({file.stem: file_digest(file) for file in files})
        kind: Literal["sample", "folder"] = "sample" if source == "sample" else "folder"
        origin = "sample" if kind == "sample" else folder.resolve().name
        return ResolvedData(kind=kind, revision=revision, location=str(folder.resolve()), origin=origin)
    if not HUB_ID.fullmatch(source):
        raise RequestError(
            f"data.source: {source!r} is neither 'sample', nor a folder, nor a hub id such as owner/name"
        )
    commit = hub_commit(source, config.revision, "dataset", "data.source")
    return ResolvedData(kind="hub", revision=commit, location=source, origin=f"{source}@{commit[:8]}")


def resolve_model(config: ModelConfig, key: str = "model.source") -> ResolvedModel:
    """Pin a base model. RequestError if it is unknown, gated without licence or token, or cannot be reached.

    key: the setting that names the model, for messages.
    """
    source = config.source
    if source.startswith("package:"):
        return _packaged(source)
    if _is_path(source, key):
        folder = user_path(source, key)
        if not (folder / "config.json").is_file():
            raise RequestError(f"{key}: no model in {folder} (expected a folder with config.json and *.safetensors)")
        names = sorted(p.name for p in folder.iterdir() if p.suffix in _MODEL_FILES)
        if not any(name.endswith(".safetensors") for name in names):
            raise RequestError(f"{key}: no *.safetensors in {folder}; other formats can run code and are not loaded")
        refuse_incomplete_weights(folder, key)
        digest = sha256({name: file_digest(folder / name) for name in names})
        return ResolvedModel(revision=digest, location=str(folder.resolve()), origin=folder.resolve().name)
    if not HUB_ID.fullmatch(source):
        raise RequestError(f"{key}: {source!r} is neither a hub id, nor a folder, nor package:<module>/<file>.gguf")
    commit = hub_commit(source, config.revision, "model", key)
    return ResolvedModel(revision=commit, location=source, origin=source)


def refuse_incomplete_weights(folder: Path, key: str) -> None:
    """RequestError if a file of weights is a Git LFS pointer, or if an index names a shard that is not there."""
    for file in sorted(folder.glob("*.safetensors")):
        refuse_git_lfs_pointer(file, key)
    for index in sorted(folder.glob("*.safetensors.index.json")):
        refuse_git_lfs_pointer(index, key)
        try:
            shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise RequestError(f"{key}: {index} cannot be parsed ({one_line(error, 80)}): copy it again") from error
        if missing := [name for name in shards if not (folder / str(name)).is_file()]:
            raise RequestError(
                f"{key}: {len(missing)} of {len(shards)} files of weights are missing in {folder}, such as "
                f"{missing[0]}: copy or download the rest"
            )


def refuse_git_lfs_pointer(file: Path, key: str) -> None:
    """RequestError if a file was cloned without its content."""
    with file.open("rb") as f:
        if f.read(len(_GIT_LFS)) == _GIT_LFS:
            raise RequestError(
                f"{key}: {file} is a Git LFS pointer, not the content: run `git lfs pull` in {file.parent}"
            )


def _packaged(source: str) -> ResolvedModel:
    module, _, name = source.removeprefix("package:").partition("/")
    if not re.fullmatch(r"\w+", module) or not re.fullmatch(r"[\w.-]+\.gguf", name):
        raise RequestError(f"model.source: {source!r} is not of the form package:<module>/<file>.gguf")
    package = importlib.util.find_spec(module)
    folders = list(package.submodule_search_locations or []) if package else []
    file = Path(folders[0]) / name if folders else None
    if file is None or not file.is_file():
        raise RequestError(f"model.source: no {name} in an installed package {module}; run `make setup`")
    return ResolvedModel(revision=file_digest(file), location=str(file.parent), gguf=name, origin=name)


def _is_path(source: str, key: str) -> bool:
    return (
        source.startswith((".", "/", "~"))
        or (os.sep in source and source.count("/") != 1)
        or user_path(source, key).is_dir()
    )

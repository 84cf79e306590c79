"""The settings that a champion was trained and judged with, as overrides of the recipe that lacks them.

A retraining by the plain recipe would otherwise use other data or settings than the champion's own run, without a word.
"""

import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from artifacts.artifact_store import Store
from artifacts.champions import Champion
from artifacts.errors import RequestError
from artifacts.user_paths import user_path
from flows.recipe import OVERRIDES, PROMPTS, Recipe, load_recipe
from tasks.config import DownloadSpec, ResolvedModel, TrainSpec
from tasks.execution.job import load_job
from tasks.manifest_views import AdapterView, FormattedRowsView
from tasks.models.prompt_template import load_prompt
from tasks.registry import STAGES


def remark(champion: Champion, recipe: str, overrides: Sequence[str]) -> str | None:
    """One line with the command that gives scheduled runs the champion's settings.

    None if they have them already, or if another recipe trained the champion.
    """
    try:
        if Store.current().by_id(champion.adapter).provenance.origin["recipe"].split(" ")[0] != recipe:
            return None
        missing = missing_overrides(champion, load_recipe(recipe, overrides))
    except (RequestError, ValidationError, KeyError):  # its lineage was removed, or is of another version
        return None
    if not missing:
        return None
    value = shlex.quote(json.dumps([*overrides, *missing], ensure_ascii=False))
    return (
        f"{champion.adapter} was trained with settings that recipe {recipe} does not have; to use them in scheduled runs: "
        f"prefect variable set {OVERRIDES} {value} --overwrite"
    )


def missing_overrides(champion: Champion, recipe: Recipe) -> list[str]:
    """Overrides that give `recipe` the champion's data, base model, prompts, training and decoding settings."""
    store = Store.current()
    adapter = store.by_id(champion.adapter)
    spec = load_job(store, adapter.id, STAGES).spec
    assert isinstance(spec, TrainSpec)
    dataset = FormattedRowsView(store.by_id(AdapterView(adapter).rows.id)).dataset.id
    download = load_job(store, dataset, STAGES).spec
    assert isinstance(download, DownloadSpec)
    data = download.data
    wanted: dict[str, Any] = {
        "data.source": "sample" if data.kind == "sample" else data.location,
        "model.source": _source(spec.model),
        "model.turns": spec.turns,
        "model.quantization": spec.quantization,
        **dict(_leaves("train", spec.train.model_dump(mode="json"))),
        **dict(_leaves("generate", champion.generate)),
    }
    has = dict(_leaves("", recipe.model_dump(mode="json")))
    for key in ("data.source", "model.source"):
        has[key] = _absolute(has[key])
    found = {key: value for key, value in wanted.items() if has[key] != value}
    prompt = load_prompt(recipe.prompt, PROMPTS)
    if (trained := AdapterView(adapter).template) != prompt:
        found["prompt"] = _name_of(trained)
    evaluated = load_prompt(recipe.evaluation.prompt, PROMPTS) if recipe.evaluation.prompt else trained
    if evaluated != champion.template:
        found["evaluation.prompt"] = _name_of(champion.template)
    return [f"{key}={_text(value)}" for key, value in found.items()]


def _leaves(prefix: str, content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted keys with their values."""
    for name, value in content.items():
        key = f"{prefix}.{name}" if prefix else name
        if isinstance(value, dict):
            yield from _leaves(key, value)
        else:
            yield key, value


def _source(model: ResolvedModel) -> str:
    return f"package:{Path(model.location).name}/{model.gguf}" if model.gguf else model.location


def _absolute(source: str) -> str:
    """A folder as stages name it; anything else as it is."""
    folder = user_path(source, "source")
    return str(folder.resolve()) if source != "sample" and folder.is_dir() else source


def _name_of(template: str) -> str:
    """The prompt of the library with this text, or the text itself."""
    names = (file.stem for file in sorted(PROMPTS.glob("*.txt")))
    return next((name for name in names if load_prompt(name, PROMPTS) == template), template)


def _text(value: Any) -> str:
    """What an override has after its `=`: the value itself where YAML reads it as that, else JSON, which YAML reads too."""
    with suppress(yaml.YAMLError):
        if isinstance(value, str) and yaml.safe_load(value) == value:
            return value
    return json.dumps(value)

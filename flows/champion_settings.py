"""The settings that a champion was trained and evaluated with, as overrides of a recipe that lacks them.

Without them a scheduled run would silently train with other data or settings than the champion's run.
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
from flows.adapter_lookup import decoding_of
from flows.recipe import OVERRIDES, PROMPTS, Recipe, load_recipe
from tasks.config import DistillConfig, DownloadSpec, ResolvedModel, TrainSpec
from tasks.execution.job import load_job
from tasks.manifest_views import AdapterView, FormattedRowsView
from tasks.models.prompt_template import load_prompt
from tasks.registry import STAGES


def missing_overrides_note(champion: Champion, recipe: str, overrides: Sequence[str]) -> str | None:
    """One line with the command that gives scheduled runs the champion's settings.

    None if scheduled runs have these settings already, or if another recipe trained the champion.
    """
    try:
        if Store.current().by_id(champion.adapter).provenance.origin["recipe"].split(" ")[0] != recipe:
            return None
        missing = missing_overrides(champion, load_recipe(recipe, overrides))
    except (RequestError, ValidationError, KeyError):  # its inputs were removed, or another version wrote them
        return None
    if not missing:
        return None
    value = shlex.quote(json.dumps([*overrides, *missing], ensure_ascii=False))
    return (
        f"{champion.adapter} was trained with settings that recipe {recipe} does not have; "
        f"to use them in scheduled runs: prefect variable set {OVERRIDES} {value} --overwrite"
    )


def missing_overrides(champion: Champion, recipe: Recipe) -> list[str]:
    """Overrides that give `recipe` the champion's data, base model, prompts, training and decoding settings.

    Raises RequestError if an artifact that the champion was made from is gone, ValidationError or KeyError if another
    version of the project wrote it.
    """
    store = Store.current()
    adapter = store.by_id(champion.adapter)
    spec = load_job(store, adapter.id, STAGES).spec
    assert isinstance(spec, TrainSpec)
    dataset = FormattedRowsView(store.by_id(AdapterView(adapter).rows.id)).dataset.id
    download = load_job(store, dataset, STAGES).spec
    assert isinstance(download, DownloadSpec)
    data = download.data
    # the supervised adapter of a distillation may be champion, of a run without one
    train = spec.train.model_copy(update={"distill": spec.preference or DistillConfig()})
    champion_values: dict[str, Any] = {
        "data.source": "sample" if data.kind == "sample" else data.location,
        "model.source": _source(spec.model),
        "model.turns": spec.turns,
        "model.quantization": spec.quantization,
        **dict(_leaves("train", train.model_dump(mode="json"))),
        **dict(_leaves("generate", decoding_of(champion))),
    }
    if champion.generate.get("candidates", 1) > 1:
        champion_values["score.tokenizer"] = champion.rouge_tokenizer
    recipe_values = dict(_leaves("", recipe.for_adapter(spec.quantization).model_dump(mode="json")))
    for key in ("data.source", "model.source"):
        recipe_values[key] = _absolute(recipe_values[key])
    differing = {key: value for key, value in champion_values.items() if recipe_values[key] != value}
    prompt = load_prompt(recipe.prompt, PROMPTS)
    if (trained := AdapterView(adapter).template) != prompt:
        differing["prompt"] = _prompt_name_or_text(trained)
    evaluated = load_prompt(recipe.evaluation.prompt, PROMPTS) if recipe.evaluation.prompt else trained
    if evaluated != champion.template:
        differing["evaluation.prompt"] = _prompt_name_or_text(champion.template)
    return [f"{key}={_yaml_value(value)}" for key, value in differing.items()]


def _leaves(prefix: str, content: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Dotted keys of nested sections, with their values."""
    for name, value in content.items():
        key = f"{prefix}.{name}" if prefix else name
        if isinstance(value, dict):
            yield from _leaves(key, value)
        else:
            yield key, value


def _source(model: ResolvedModel) -> str:
    return f"package:{Path(model.location).name}/{model.gguf}" if model.gguf else model.location


def _absolute(source: str) -> str:
    """The absolute path of a folder, as stages record it; any other source unchanged."""
    folder = user_path(source, "source")
    return str(folder.resolve()) if source != "sample" and folder.is_dir() else source


def _prompt_name_or_text(template: str) -> str:
    """Name of the library's prompt with this text; the text itself if there is none."""
    names = (file.stem for file in sorted(PROMPTS.glob("*.txt")))
    return next((name for name in names if load_prompt(name, PROMPTS) == template), template)


def _yaml_value(value: Any) -> str:
    """The value of an override in YAML: a string as it is where YAML reads it back unchanged, anything else as JSON."""
    with suppress(yaml.YAMLError):
        if isinstance(value, str) and yaml.safe_load(value) == value:
            return value
    return json.dumps(value)

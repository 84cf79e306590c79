"""Model selection: from `--adapter`, `--recipe` and `--prompt` to base model, adapter, prompt and decoding settings.

champion         with the prompt, chat template and decoding settings it was evaluated with
latest, ID       with the prompt, chat template and quantization it was trained with, and the decoding settings of its
                 recipe
none             the base model of a recipe
FOLDER, hub id   an adapter in peft's format, with the recipe of its base model
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from artifacts.errors import RequestError
from artifacts.manifest import Manifest
from artifacts.user_paths import user_path
from flows.adapter_lookup import candidates, decoding_of, find_adapter, reinstate
from flows.inference.peft_adapters import base_differs, base_name, fetch_adapter, recipe_of_base
from flows.inference.prompt_library import find_prompt
from flows.recipe import RECIPES, Recipe, load_recipe
from tasks.config import ResolvedModel, SummarizeSpec, TrainSpec
from tasks.execution.job import load_job
from tasks.manifest_views import AdapterView
from tasks.sources.resolve import resolve_model
from tasks.summarization.request import SelectedModel


def select_model(adapter: str, recipe: str | None, prompt: str | None, overrides: Sequence[str] = ()) -> SelectedModel:
    """The model that `--adapter`, `--recipe` and `--prompt` name. RequestError if one of them does not exist."""
    named_prompt = find_prompt(prompt) if prompt else None
    template = named_prompt.template if named_prompt else None
    tokens = named_prompt.metadata.tokens if named_prompt else None
    own_overrides = [*([f"generate.max_new_tokens={tokens}"] if tokens else []), *overrides]
    if adapter == "none":
        loaded = load_recipe(recipe or "quickstart", own_overrides)
        return _selected(loaded, resolve_model(loaded.model), template, None, "", None)
    folder = fetch_adapter(adapter)
    if folder is not None:
        loaded = load_recipe(recipe or recipe_of_base(base_name(folder)), own_overrides)
        name = user_path(adapter, "--adapter").resolve().name if user_path(adapter, "--adapter").is_dir() else adapter
        model = resolve_model(loaded.model)
        return replace(_selected(loaded, model, template, folder, name, None), remark=base_differs(folder, model))
    manifest, champion = _stored(adapter, recipe, overrides)
    return _with_settings(manifest, champion or _as_trained(manifest), recipe, template, own_overrides)


def select_champion(
    champion: Champion, recipe: str | None, prompt: str | None, overrides: Sequence[str] = ()
) -> SelectedModel:
    """The model of this entry of the champion log, whichever is in force. RequestError as `select_model`."""
    named_prompt = find_prompt(prompt) if prompt else None
    tokens = named_prompt.metadata.tokens if named_prompt else None
    own_overrides = [*([f"generate.max_new_tokens={tokens}"] if tokens else []), *overrides]
    manifest = _verified_adapter(Store.current().by_id(champion.adapter))
    return _with_settings(manifest, champion, recipe, named_prompt.template if named_prompt else None, own_overrides)


def _with_settings(
    manifest: Manifest, champion: Champion, recipe: str | None, template: str | None, overrides: Sequence[str]
) -> SelectedModel:
    """An adapter from the store with the prompt, chat template and decoding settings of `champion`."""
    loaded = _recipe_of(manifest, champion, recipe, overrides)
    payload = Store.current().payload(manifest.path)
    model = _model_of(manifest, loaded)
    return _selected(loaded, model, template, payload, manifest.id, AdapterView(manifest).template)


def stored_adapter(adapter: str, recipe: str | None, overrides: Sequence[str]) -> tuple[Manifest, Recipe]:
    """An adapter of the store, and its recipe with the settings that it is evaluated with."""
    manifest, champion = _stored(adapter, recipe, overrides)
    return manifest, _recipe_of(manifest, champion or _as_trained(manifest), recipe, overrides)


def _recipe_of(manifest: Manifest, champion: Champion, recipe: str | None, overrides: Sequence[str]) -> Recipe:
    """The recipe named, or that of the adapter, with the settings of `champion`."""
    loaded = load_recipe(recipe or _recipe_that_made(manifest), overrides, _settings_of(champion))
    return loaded.for_adapter(AdapterView(manifest).quantization)


def _selected(
    recipe: Recipe,
    model: ResolvedModel,
    template: str | None,
    adapter: Path | None,
    name: str,
    trained_template: str | None,
) -> SelectedModel:
    if template is None:
        template = find_prompt(recipe.evaluation.prompt or recipe.prompt).template
    turns, generate = recipe.evaluation.turns or recipe.model.turns, recipe.decoding.model_copy(update={"limit": None})
    spec = SummarizeSpec(
        model=model, turns=turns, template=template, generate=generate, rouge_tokenizer=recipe.score.tokenizer
    )
    return SelectedModel(spec, adapter, f"{model.name} {name}".strip(), recipe.runtime, trained_template)


def _stored(name: str, recipe: str | None, overrides: Sequence[str]) -> tuple[Manifest, Champion | None]:
    """A verified adapter from the store: of the recipe's base model, or of any base model if `recipe` is None."""
    store = Store.current()
    if recipe is not None:
        model = resolve_model(load_recipe(recipe, overrides).model)
        manifest = find_adapter(name, model)
        assert manifest is not None
        champion = Champions(Store.current(), model.revision).current
        return manifest, champion if name == "champion" else None
    trained = candidates(store)
    if name == "latest":
        if not trained:
            raise RequestError(
                f"no adapter in {store.root} yet: `dialogsum run` trains one; --adapter none uses the base model"
            )
        name = trained[-1].id
    elif name == "champion":
        bases = dict.fromkeys(AdapterView(manifest).base_revision for manifest in reversed(trained))
        logs = [Champions(Store.current(), base) for base in bases]
        with_champion = [log for log in logs if log.current]
        if not with_champion:
            way = reinstate(logs) or (
                "`dialogsum promote` makes the newest adapter champion if it passes the gate"
                if trained
                else "`dialogsum run` trains and promotes one"
            )
            raise RequestError(
                f"no champion in {store.root}: {way}; "
                "--adapter latest takes the newest adapter, --adapter none the base model"
            )
        champion = max(with_champion, key=lambda log: log.changes[-1].at).current
        assert champion is not None
        manifest = store.by_id(champion.adapter)
        return _verified_adapter(manifest), champion
    return _verified_adapter(store.by_id(name)), None


def _verified_adapter(manifest: Manifest) -> Manifest:
    """The manifest of an adapter, verified."""
    revision = AdapterView(manifest).base_revision if manifest.stage == "train" else ""  # find_adapter refuses it
    adapter = find_adapter(manifest.id, ResolvedModel(revision=revision, location="", origin=""))
    assert adapter is not None
    return adapter


def _as_trained(manifest: Manifest) -> Champion:
    adapter = AdapterView(manifest)
    return Champion(adapter=adapter.id, template=adapter.template, turns=adapter.turns, generate={})


def _settings_of(champion: Champion) -> dict[str, dict[str, Any]]:
    """Sections of a recipe with the prompt, chat template and decoding settings that a champion was evaluated with."""
    compares_candidates = champion.generate.get("candidates", 1) > 1
    return {
        "generate": decoding_of(champion),
        "evaluation": {"prompt": champion.template, "turns": champion.turns},
        "score": {"tokenizer": champion.rouge_tokenizer} if compares_candidates else {},
    }


def _recipe_that_made(manifest: Manifest) -> str:
    name = manifest.provenance.origin.get("recipe", "").split(" ")[0]
    return name if name and (RECIPES / f"{name}.yaml").is_file() else "quickstart"


def _model_of(manifest: Manifest, recipe: Recipe) -> ResolvedModel:
    """The adapter's base model: where it was when the adapter was trained, else the recipe's if that is the same."""
    from tasks.registry import STAGES  # which imports every stage

    revision = AdapterView(manifest).base_revision
    try:
        spec = load_job(Store.current(), manifest.id, STAGES).spec
        assert isinstance(spec, TrainSpec)
        model = spec.model
        source = str(Path(model.location) / model.gguf) if model.gguf else model.location
        if not source.startswith("/") or Path(source).exists():
            return model
    except RequestError:
        pass
    model = resolve_model(recipe.model)
    if model.revision != revision:
        origin = manifest.provenance.origin.get("model", revision[:8])
        raise RequestError(
            f"adapter {manifest.id} was trained on {origin}, which is no longer where it was: "
            "name a recipe with that base model (--recipe), or its new place (--set model.source=…)"
        )
    return model

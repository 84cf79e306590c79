"""Whom `summarize` asks, and how: base model, adapter, prompt, turns and decoding, from a few words.

champion       as it was judged: its own prompt, turns and decoding
latest, ID     the prompt and turns it was trained under, the decoding of its recipe
none           the base model of a recipe
FOLDER, hub id an adapter as peft writes it; the recipe whose base model it names
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artifacts.artifact_store import Store
from artifacts.champions import Champion, Champions
from artifacts.errors import RequestError
from artifacts.manifest import Manifest
from artifacts.user_paths import user_path
from flows.adapter_lookup import find_adapter, reinstate
from flows.inference.peft_adapters import base_name, fetch_adapter, recipe_of_base
from flows.inference.prompt_library import find_prompt
from flows.recipe import RECIPES, Recipe, load_recipe
from tasks.config import ResolvedModel, SummarizeSpec, TrainSpec
from tasks.execution.job import load_job
from tasks.sources.resolve import resolve_model
from tasks.summarization.request import SelectedModel


def ask(adapter: str, recipe: str | None, prompt: str | None, overrides: Sequence[str] = ()) -> SelectedModel:
    """From the words of the command line. RequestError says what is missing."""
    wanted = find_prompt(prompt) if prompt else None
    template = wanted.template if wanted else None
    tokens = wanted.about.tokens if wanted else None
    by_hand = [*([f"generate.max_new_tokens={tokens}"] if tokens else []), *overrides]
    if adapter == "none":
        asked = load_recipe(recipe or "quickstart", by_hand)
        return _asked(asked, resolve_model(asked.model), template, None, "", None)
    folder = fetch_adapter(adapter)
    if folder is not None:
        base = base_name(folder)
        asked = load_recipe(recipe or recipe_of_base(base), by_hand)
        name = user_path(adapter, "--adapter").resolve().name if user_path(adapter, "--adapter").is_dir() else adapter
        return _asked(asked, resolve_model(asked.model), template, folder, name, None)
    manifest, champion = _stored(adapter, recipe, overrides)
    as_judged = _as_judged(champion or _as_trained(manifest))
    asked = load_recipe(recipe or _recipe_that_made(manifest), [*as_judged, *by_hand])
    model = _model_of(manifest, asked)
    return _asked(
        asked, model, template, Store.current().payload(manifest.path), manifest.id, manifest.facts["template"]
    )  # fmt: skip


def _asked(
    recipe: Recipe,
    model: ResolvedModel,
    template: str | None,
    adapter: Path | None,
    name: str,
    trained_template: str | None,
) -> SelectedModel:
    if template is None:
        template = find_prompt(recipe.evaluation.prompt or recipe.prompt).template
    turns, generate = recipe.evaluation.turns or recipe.model.turns, recipe.generate.model_copy(update={"limit": None})
    spec = SummarizeSpec(model=model, turns=turns, template=template, generate=generate)
    return SelectedModel(spec, adapter, f"{model.name} {name}".strip(), recipe.runtime, trained_template)


def _stored(name: str, recipe: str | None, overrides: Sequence[str]) -> tuple[Manifest, Champion | None]:
    """A whole adapter of the store; with a recipe, of its base model, else `champion` and `latest` are those of any."""
    store = Store.current()
    if recipe is not None:
        model = resolve_model(load_recipe(recipe, overrides).model)
        found = find_adapter(name, model)
        assert found is not None
        champion = Champions(Store.current(), model.revision).current
        return found, champion if name == "champion" else None
    trained = [manifest for manifest in store.manifests("train") if manifest.variant is None]
    if name == "latest":
        if not trained:
            raise RequestError(
                f"no adapter in {store.root} yet: `dialogsum run` trains one; --adapter none asks the base model"
            )
        name = trained[-1].id
    elif name == "champion":
        bases = list(
            dict.fromkeys(str(manifest.identity["config"]["model"]["revision"]) for manifest in reversed(trained))
        )
        every = [Champions(Store.current(), base) for base in bases]
        logs = [log for log in every if log.current]
        if not logs:
            way = reinstate(every) or (
                "`dialogsum promote` makes the newest adapter champion if it passes the gate" if trained
                else "`dialogsum run` trains and promotes one"
            )  # fmt: skip
            raise RequestError(
                f"no champion in {store.root}: {way}; "
                "--adapter latest takes the newest adapter, --adapter none the base model"
            )
        champion = max(logs, key=lambda log: log.changes[-1].at).current
        assert champion is not None
        manifest = store.by_id(champion.adapter)
        return _whole(manifest), champion
    return _whole(store.by_id(name)), None


def _whole(manifest: Manifest) -> Manifest:
    """Verified, and an adapter of the base that it names itself."""
    revision = manifest.identity["config"].get("model", {}).get("revision", "")
    found = find_adapter(manifest.id, ResolvedModel(revision=revision, location="", origin=""))
    assert found is not None
    return found


def _as_trained(manifest: Manifest) -> Champion:
    turns = manifest.identity["config"]["turns"]
    return Champion(adapter=manifest.id, template=manifest.facts["template"], turns=turns, generate={})


def _as_judged(champion: Champion) -> list[str]:
    """Overrides of a recipe that make it ask as the champion was asked."""
    settings = {f"generate.{key}": value for key, value in champion.generate.items()}
    settings |= {"evaluation.prompt": champion.template, "evaluation.turns": champion.turns}
    return [f"{key}={_yaml(value)}" for key, value in settings.items()]


def _yaml(value: Any) -> str:
    """JSON that YAML reads as the same: its further line breaks and control characters are escaped, and nothing else."""
    return re.sub(
        "[\x7f-\xa0\u2028\u2029\ufeff]", lambda c: f"\\u{ord(c[0]):04x}", json.dumps(value, ensure_ascii=False)
    )


def _recipe_that_made(manifest: Manifest) -> str:
    name = manifest.provenance.origin.get("recipe", "").split(" ")[0]
    return name if name and (RECIPES / f"{name}.yaml").is_file() else "quickstart"


def _model_of(manifest: Manifest, recipe: Recipe) -> ResolvedModel:
    """The adapter's base model: where it lay when the adapter was trained, or the recipe's if that is the same."""
    from tasks.registry import STAGES  # which imports every stage

    revision = manifest.identity["config"]["model"]["revision"]
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
            f"adapter {manifest.id} was trained on {origin}, which is not where it was: "
            "--recipe with that base model, or --set model.source=…"
        )
    return model

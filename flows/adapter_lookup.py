"""Adapter lookup: by id, `latest`, `champion` or `none`."""

from collections.abc import Iterable
from typing import Any

from artifacts.artifact_store import DamageError, Store
from artifacts.champions import Champion, Champions
from artifacts.errors import RequestError
from artifacts.manifest import Manifest
from tasks.config import GenerateConfig, ResolvedModel
from tasks.manifest_views import AdapterView, PredictionsView
from tasks.metrics.score_table import System

TRIAL = "trial"
"""Variant of an adapter that a trial of a sweep trained (flows/dag.py)."""


def is_of_trial(variant: str | None) -> bool:
    """Whether an artifact of this variant is made by a trial of a sweep."""
    return variant is not None and variant.startswith((TRIAL, "validation"))


def candidates(store: Store) -> list[Manifest]:
    """Adapters that a run has trained, or taken over from a sweep or a distillation, oldest first.

    Those of further seeds are left out, and so are those that only a sweep or a distillation knows: they were not
    evaluated on the test split.
    """
    trained = [m for m in store.manifests("train") if not (m.variant or "").startswith("seed ")]
    evaluated = set[str | None]()
    if any(m.variant for m in trained):
        evaluated = {PredictionsView(m).adapter_id for m in store.manifests("generate") if m.variant == System.TUNED}
    return [m for m in trained if m.variant is None or m.id in evaluated]


def find_adapter(name: str, model: ResolvedModel) -> Manifest | None:
    """The manifest of an intact adapter of this base model; None for `none`. RequestError if there is none."""
    store = Store.current()
    if name == "none":
        return None
    if name == "latest":
        of_base = [m for m in candidates(store) if AdapterView(m).base_revision == model.revision]
        if not of_base:
            raise RequestError(f"no adapter of {model.name} in {store.root} yet: `dialogsum run` trains one")
        manifest = of_base[-1]
    elif name == "champion":
        champions = Champions(Store.current(), model.revision)
        if champions.current is None:
            way = reinstate([champions]) or "`dialogsum promote` makes the latest one if it is better"
            raise RequestError(
                f"no adapter of {model.name} is champion {'now' if champions.withdrawn else 'yet'}: {way}"
            )
        name = champions.current.adapter
        manifest = store.by_id(name)
    else:
        manifest = store.by_id(name)
        if manifest.stage != "train":
            raise RequestError(
                f"{name} is an artifact of the stage {manifest.stage}, not an adapter (expected an id train-…)"
            )
    base = AdapterView(manifest).base_revision
    if base != model.revision:
        origin = manifest.provenance.origin.get("model", base[:8])
        raise RequestError(
            f"adapter {manifest.id} was trained on {origin}, the recipe's base model is {model.origin}: "
            f"choose an adapter of that model, or the recipe that trained the adapter"
        )
    try:
        return store.verified(manifest.path)
    except DamageError as error:
        raise RequestError(f"adapter {manifest.id} is damaged ({error}): run its recipe again") from error


def reinstate(logs: Iterable[Champions]) -> str:
    """How to undo the newest rollback of base models that have no champion; empty if nothing was rolled back."""
    withdrawn = {adapter: at for log in logs for adapter, at in log.withdrawn.items()}
    if not withdrawn:
        return ""
    adapter = max(withdrawn, key=lambda name: withdrawn[name])
    trained = Store.current().manifests("train", {adapter})
    recipe = trained[0].provenance.origin.get("recipe", "").split(" ")[0] if trained else ""
    command = " ".join(
        ["dialogsum promote", *([recipe] if recipe not in ("", "quickstart") else []), "--adapter", adapter]
    )
    at = withdrawn[adapter][:16].replace("T", " ")
    return f"{adapter} was rolled back on {at} UTC, and `{command}` reinstates it"


def decoding_of(champion: Champion) -> dict[str, Any]:
    """The recipe's section `generate` that a champion was evaluated with, without `limit`; empty if it is not recorded.

    A key that did not exist then has its default.
    """
    if not champion.generate:
        return {}
    return GenerateConfig.model_validate(champion.generate).model_dump(mode="json", exclude={"limit"})

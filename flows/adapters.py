"""Which adapter does a person mean: an id, `latest`, `champion`, or `none`."""

import json

from artifacts.errors import RequestError
from artifacts.manifest import Manifest
from artifacts.store import DamageError, Store
from tasks.config import ResolvedModel


def find_adapter(name: str, model: ResolvedModel) -> Manifest | None:
    """The manifest of a whole adapter of this base model; None for `none`. RequestError otherwise."""
    store = Store.current()
    if name == "none":
        return None
    if name == "latest":
        of_base = [m for m in store.manifests("train") if _base(m) == model.revision]
        if not of_base:
            raise RequestError(f"no adapter of {model.name} in {store.root} yet: `dialogsum run` trains one")
        manifest = of_base[-1]
    elif name == "champion":
        pointer = store.read("pointers", "champion.json")
        if pointer is None:
            raise RequestError(
                "there is no champion yet: `dialogsum promote` makes the latest adapter one if it is better"
            )
        try:
            name = str(json.loads(pointer)["adapter"])
        except (ValueError, KeyError, TypeError) as error:
            raise RequestError(
                f"pointers/champion.json in {store.root} does not read: remove it and promote again"
            ) from error
        manifest = store.by_id(name)
    else:
        manifest = store.by_id(name)
        if manifest.stage != "train":
            raise RequestError(
                f"{name} is not an adapter but the work of {manifest.stage} (adapters are called train-…)"
            )
    if _base(manifest) != model.revision:
        origin = manifest.made.origin.get("model", _base(manifest)[:8])
        raise RequestError(
            f"adapter {manifest.id} was trained on {origin}, the recipe's base model is {model.origin}: "
            f"choose an adapter of that base, or the recipe it was trained by"
        )
    try:
        return store.verified(manifest.path)
    except DamageError as error:
        raise RequestError(f"adapter {manifest.id} is damaged ({error}): run its recipe again") from error


def _base(manifest: Manifest) -> str:
    return str(manifest.identity["config"]["model"]["revision"])

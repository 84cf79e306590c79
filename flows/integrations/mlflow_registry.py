"""MLflow's model registry: the champions as versions of the model DIALOGSUM_MLFLOW_MODEL, the current one by alias."""

import os
from typing import Any

from artifacts.artifact_store import Store
from flows.integrations.tracker import TrackedRun

MODEL = "DIALOGSUM_MLFLOW_MODEL"
"""Environment variable: the name of the model; `{base}` in it stands for the base model. Without it, no registry."""
ALIAS, FOLDER = "champion", "adapter"


def follow(client: Any, run: Any, tracked: TrackedRun) -> None:
    """Give the alias to the version of a champion, which is registered once; take it from an adapter that was one."""
    model = os.environ.get(MODEL, "").replace("{base}", tracked.tags["base_model"].split("/")[-1])
    if not model or tracked.parent:
        return
    versions = client.search_model_versions(f"name = '{model}'")
    version = next((v for v in versions if v.tags.get("dialogsum.artifact") == tracked.id), None)
    if tracked.tags["champion"] == "yes":
        version = version or _register(client, model, run, tracked)
        client.set_registered_model_alias(model, ALIAS, version.version)
    elif version and ALIAS in client.get_model_version(model, version.version).aliases:
        client.delete_registered_model_alias(model, ALIAS)


def _register(client: Any, model: str, run: Any, tracked: TrackedRun) -> Any:
    if not client.search_registered_models(f"name = '{model}'"):
        client.create_registered_model(model)
    store = Store.current()
    client.log_artifacts(run.info.run_id, str(store.payload(store.by_id(tracked.id).path)), FOLDER)
    source = f"{run.info.artifact_uri}/{FOLDER}"
    return client.create_model_version(model, source, run.info.run_id, tags={"dialogsum.artifact": tracked.id})

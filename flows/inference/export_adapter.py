"""`export`: writes an adapter and its model card as a folder that works without this project, or uploads it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artifacts.artifact_store import Store
from artifacts.errors import RequestError, StageError
from artifacts.text import one_line
from flows.inference.model_card import card, scores_hold
from flows.inference.model_selection import select_model
from tasks.models.base_comparison import compare_base
from tasks.models.export import export, public_base
from tasks.models.library_warnings import quiet_libraries


def export_adapter(
    adapter: str,
    out: Path,
    merged: bool = False,
    base: str | None = None,
    push: str | None = None,
    recipe: str | None = None,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """Write the folder; with `push`, upload it to a hub repository as well.

    Returns {"out", "adapter", "merged", "url", "note"}; `note` states whether the card's scores hold for `base`.
    Raises RequestError if the request is wrong, before it writes anything; StageError if the upload fails.
    """
    if adapter == "none":
        raise RequestError("--adapter none is the base model, which is published already: name an adapter")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(f"FOLDER {out} already exists; choose a new one")
    if push is not None and push.count("/") != 1:
        raise RequestError(f"--push: {one_line(push, 60)!r} is no repository; expected owner/name")
    selected = select_model(adapter, recipe, None, overrides)
    assert selected.adapter is not None
    base_location = None if merged else public_base(selected.spec, base)
    with quiet_libraries():
        other = compare_base(selected.spec.model, base) if base else None
        export(selected.spec, selected.adapter, out, base_location)
    identifier = selected.name.split(" ")[-1]
    manifest = Store.current().by_id(identifier) if identifier.startswith("train-") else None
    card(selected, manifest, other, merged).save(out / "README.md")
    url = _push(out, push) if push else None
    note = scores_hold(selected.spec.model, other) if other and not merged else None
    return {"out": str(out), "adapter": identifier, "merged": merged, "url": url, "note": note}


def _push(folder: Path, repository: str) -> str:
    from huggingface_hub import HfApi

    try:
        HfApi().create_repo(repository, exist_ok=True, private=True)
        return str(HfApi().upload_folder(repo_id=repository, folder_path=folder, commit_message="dialogsum export"))
    except Exception as error:  # of the hub's client, httpx and other libraries
        raise StageError(
            f"--push: the upload to {repository} failed ({one_line(error, 160)}); "
            f"the folder {folder} is complete: set HF_TOKEN and upload it yourself"
        ) from error

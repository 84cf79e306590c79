"""`export`: an adapter as a folder for people who do not have this project, with a model card; or onto a hub."""

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
    """Write the folder; with `push`, put it into a hub repository as well.

    Returns {"out", "adapter", "merged", "url", "note"}; `note` says whether the scores in the card hold for `base`.
    RequestError before anything is written if the request is wrong; StageError if the hub does not take it.
    """
    if adapter == "none":
        raise RequestError("--adapter none is the base model, which is published already: name an adapter")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(f"FOLDER {out} already exists; choose a new one")
    if push is not None and push.count("/") != 1:
        raise RequestError(f"--push: {one_line(push, 60)!r} is no repository; expected owner/name")
    selected = select_model(adapter, recipe, None, overrides)
    assert selected.adapter is not None
    place = None if merged else public_base(selected.spec, base)
    with quiet_libraries():
        other = compare_base(selected.spec.model, base) if base else None
        export(selected.spec, selected.adapter, out, place)
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
    except Exception as error:  # the hub's, httpx's and others
        raise StageError(
            f"--push: {repository} was not taken ({one_line(error, 160)}); the folder {folder} is whole: set HF_TOKEN and push it again"
        ) from error

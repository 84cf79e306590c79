"""`export`: writes an adapter and its model card as a folder that works without this project, or uploads it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from artifacts.artifact_store import Store
from artifacts.errors import RequestError, StageError
from artifacts.text import one_line
from flows.inference.export_format import ExportRequest, find_format
from flows.inference.gguf_scores import refuse_scoring, score_gguf
from flows.inference.model_card import card, scores_hold
from flows.inference.model_selection import select_model
from tasks.execution.listener import Listener
from tasks.models.base_comparison import compare_base
from tasks.models.library_warnings import quiet_libraries
from tasks.workers.events import NullListener


def export_adapter(
    adapter: str,
    out: Path,
    base: str | None = None,
    push: str | None = None,
    recipe: str | None = None,
    overrides: Sequence[str] = (),
    format: str = "adapter",
    score: bool = False,
    listener: Listener | None = None,
) -> dict[str, Any]:
    """Write the folder; with `push`, upload it to a hub repository as well.

    format: name of a format, `gguf=q8_0` with its value.
    score: score what was written on the test split, against the model that it was made from.

    Returns {"out", "adapter", "merged", "format", "url", "note", "scores"}; `note` states whether the card's scores
    hold for `base`, `merged` whether the folder has a complete model, `scores` the result of `score`. Raises
    RequestError if the request is wrong, before it writes anything; StageError if the upload fails.
    """
    if adapter == "none":
        raise RequestError("--adapter none is the base model, which is published already: name an adapter")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RequestError(f"FOLDER {out} already exists; choose a new one")
    if push is not None and push.count("/") != 1:
        raise RequestError(f"--push: {one_line(push, 60)!r} is no repository; expected owner/name")
    kind, value = find_format(format)
    selected = select_model(adapter, recipe, None, overrides)
    request = ExportRequest(selected, base, value)
    with quiet_libraries():
        kind.refuse(request)
        if score:
            refuse_scoring(kind, request)
        other = compare_base(selected.spec.model, base) if base else None
        kind.write(request, out)
        form = kind.card(request)
    if score:
        assert kind.gguf_file is not None
        file = out / kind.gguf_file(request)
        scores = score_gguf(file, request, adapter, recipe, overrides, listener or NullListener())
        form = form.model_copy(update={"scores": scores})
    identifier = selected.name.split(" ")[-1]
    manifest = Store.current().by_id(identifier) if identifier.startswith("train-") else None
    card(selected, manifest, other, form).save(out / "README.md")
    result = {"out": str(out), "adapter": identifier, "merged": form.merged, "format": kind.name}
    return result | {
        "url": _push(out, push) if push else None,
        "note": scores_hold(selected.spec.model, other) if other and not form.merged else None,
        "scores": form.scores,
    }


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

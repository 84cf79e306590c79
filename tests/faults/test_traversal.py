"""Row 15: no name from outside leads out of the store, nor does a link inside it.

tests/artifacts/test_artifact_store.py has the same forty names in ids, folders and small files of every kind of store,
and in the file names of manifests. tests/system/test_station.py has the server refuse recipes that are not in its list.
No archive is ever unpacked (tests/faults/test_pickles.py).
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from artifacts.artifact_store import DamageError, Store
from artifacts.errors import RequestError
from artifacts.refs import Ref
from flows.recipe import PROMPTS, load_recipe
from tasks.config import ModelConfig
from tasks.execution.job import load_job
from tasks.models.prompt_template import load_prompt
from tasks.registry import STAGES
from tasks.sources.resolve import resolve_model
from tests.faults.fault_table import Tally
from tests.support.artifacts import publish_small_artifact
from tests.support.hostile_texts import HOSTILE_NAMES


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder, links not followed."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        if not file.is_symlink()
        else "link"
        for file in folder.rglob("*")
        if file.is_symlink() or file.is_file()
    }


@pytest.mark.slow
def test_forty_forms_are_refused_wherever_a_name_is_taken(
    store: Store, tmp_path: Path, command: Callable[..., Any], tally: Tally
) -> None:
    """Command line, receipts, jobs, recipes, prompts, packages: one line, exit 2, nothing made or changed."""
    manifest = publish_small_artifact(store)
    fields, files = Ref.of_manifest(manifest).model_dump(), tree(tmp_path)
    attempts: dict[str, Callable[[str], object]] = {
        "receipt": lambda form: Ref.model_validate(fields | {"path": form}),
        "job": lambda form: load_job(Store.current(), form, STAGES),
        "recipe": load_recipe,
        "prompt": lambda form: load_prompt(form, PROMPTS),
        "package": lambda form: resolve_model(ModelConfig(source=f"package:{form}/x.gguf")),
        "file of a package": lambda form: resolve_model(ModelConfig(source=f"package:flows/{form}")),
    }
    lost: list[Any] = []
    for form in HOSTILE_NAMES:
        for name, attempt in attempts.items():
            try:
                lost.append((name, form, attempt(form)))
            except (RequestError, ValidationError) as refused:
                if isinstance(refused, RequestError) and not str(refused).isprintable():
                    lost.append((name, form, str(refused)))
        for arguments in (["show", form], ["pin", form], ["unpin", form], ["results", form]):
            if form in ("", "-rf"):
                arguments.insert(1, "--")
            if form == "" and arguments[0] == "show":
                continue  # the list
            code, out, stderr = command(*arguments)
            if (code, out, stderr.count("\n")) != (2, "", 1) or not stderr.rstrip("\n").isprintable():
                lost.append((arguments, code, out, stderr))
    assert tree(tmp_path) == files
    assert len(HOSTILE_NAMES) >= 40
    tally("15 hostile form of a name", len(HOSTILE_NAMES) * (len(attempts) + 4), lost)


LINKS = {
    "payload file": "{artifact}/payload/a.bin",
    "manifest": "{artifact}/manifest.json",
    "payload": "{artifact}/payload",
    "artifact": "{artifact}",
    "stage": "3_train",
    "results": "results",
    "champions": "champions/base",
    "small file": "results/record",
}


@pytest.mark.parametrize("what", LINKS)
def test_a_link_that_leads_out_of_the_store_is_never_followed(
    store: Store, tmp_path: Path, what: str, tally: Tally
) -> None:
    """The file that it points to, outside of the store, is neither read as part of the store nor overwritten."""
    manifest = publish_small_artifact(store)
    for parts in (("results", "record"), ("champions", "base", "000001.json")):
        store.side_files.write(b"{}", *parts)
    link, outside = Path(store.root.path, LINKS[what].format(artifact=manifest.path)), tmp_path / "outside"
    outside.mkdir()
    shutil.move(link, outside / "moved")
    link.symlink_to(outside / "moved")
    files = tree(outside)
    reads: list[Callable[[], object]]
    if what in ("results", "champions", "small file"):
        parts = ("champions", "base") if what == "champions" else ("results",)
        name = "000001.json" if what == "champions" else "record"
        reads = [
            lambda: store.side_files.read(*parts, name),
            lambda: store.side_files.read_all(*parts),
            lambda: store.side_files.write(b"x", *parts, name),
            lambda: store.side_files.create(b"x", *parts, name),
            lambda: store.side_files.delete(*parts, name),
        ]
        if what != "small file":
            reads += [lambda: store.side_files.names(*parts), lambda: store.side_files.write(b"x", *parts, "new")]
    else:
        reads = [lambda: store.verified(manifest.path), lambda: store.payload(manifest.path)]
        if what != "payload file":
            reads += [lambda: store.backend.remove(manifest.path)] if what in ("artifact", "stage") else []
        if what in ("artifact", "stage"):
            reads += [lambda: publish_small_artifact(store), store.manifests]
    lost = []
    for number, attempt in enumerate(reads):
        try:
            lost.append((number, attempt()))
        except (RequestError, DamageError) as refused:
            if "link" not in str(refused):
                lost.append((number, str(refused)))
    assert tree(outside) == files
    tally("15 link out of the store", len(reads), lost)


def test_a_loop_of_links_is_refused(store: Store) -> None:
    """And ends."""
    manifest = publish_small_artifact(store)
    file = Path(store.absolute(manifest.path), "payload", "a.bin")
    file.unlink()
    file.symlink_to(file)
    with pytest.raises((RequestError, DamageError)):
        store.verified(manifest.path)


def test_a_store_may_itself_be_a_link(store: Store, tmp_path: Path) -> None:
    """And links inside that stay inside are followed."""
    manifest = publish_small_artifact(store)
    (tmp_path / "link").symlink_to(store.root.path)
    seen = Store(tmp_path / "link")
    assert seen.verified(manifest.path) == manifest
    file = Path(store.absolute(manifest.path), "payload", "a.bin")
    shutil.move(file, tmp_path / "store" / "elsewhere")
    file.symlink_to(tmp_path / "store" / "elsewhere")
    assert Store(tmp_path / "link").verified(manifest.path) == manifest

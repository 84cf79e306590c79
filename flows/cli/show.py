"""show: the artifacts of the store, or one of them with its lineage, verified."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from artifacts.artifact_store import DamageError, Store
from artifacts.errors import RequestError, StageError, one_line
from artifacts.manifest import Manifest
from tasks.reporting.escaping import visible


def show(artifact: str | None, as_json: bool) -> None:
    """Print to standard output. StageError if the artifact that was asked for, or one it came from, is damaged."""
    store = Store.current()
    if artifact is None:
        _list(store.manifests(), as_json)
        return
    manifest = store.by_id(artifact)
    lineage = list(walk(store, manifest))
    if as_json:
        print(json.dumps({"artifact": manifest.model_dump(mode="json"), "lineage": lineage}, ensure_ascii=False))
    else:
        _one(manifest, lineage, store.absolute(manifest.path))
    if damaged := [entry for entry in lineage if entry["state"] != "whole"]:
        raise StageError(f"{damaged[0]['artifact']}: {damaged[0]['state']}; run its recipe again to make it anew")


def walk(store: Store, manifest: Manifest, role: str = "", depth: int = 0) -> Iterator[dict[str, Any]]:
    """The artifact and all it was made from, depth first, each verified."""
    yield {
        "artifact": manifest.id,
        "role": role,
        "depth": depth,
        "rows": manifest.rows,
        "state": _state(store, manifest),
    }
    for name, ref in manifest.inputs.items():
        try:
            found = store.by_id(ref.id)
        except RequestError as error:
            yield {"artifact": ref.id, "role": name, "depth": depth + 1, "rows": None, "state": one_line(error, 120)}
            continue
        yield from walk(store, found, name, depth + 1)


def _state(store: Store, manifest: Manifest) -> str:
    try:
        store.verified(manifest.path)
    except DamageError as error:
        return f"damaged: {error}"
    return "whole"


def _list(manifests: list[Manifest], as_json: bool) -> None:
    if as_json:
        print(json.dumps([m.model_dump(mode="json") for m in manifests], ensure_ascii=False))
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("artifact", "of", "name", "rows", "bytes", "seconds", "made (UTC)"):
        table.add_column(heading, justify="right" if heading in ("rows", "bytes", "seconds") else "left", no_wrap=True)
    for m in manifests:
        size = sum(seal.bytes for seal in m.files.values())
        name = m.path.split("/")[-1].rsplit("_", 1)[0]
        table.add_row(
            m.id, m.of or "", name, str(m.rows), f"{size:,}", f"{m.made.seconds:.1f}", m.made.at[:19].replace("T", " ")
        )
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(
        table if manifests else "no artifacts yet: `dialogsum run` makes them"
    )


def _one(manifest: Manifest, lineage: list[dict[str, Any]], path: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"[bold]{manifest.id}[/bold]  {manifest.rows} rows, {manifest.made.seconds:.1f} s, made {manifest.made.at[:19]} UTC"
    )
    console.print(escape(path))
    for name, seal in manifest.files.items():
        console.print(f"  {name}  {seal.bytes:,} bytes  sha256 {seal.sha256[:16]}")
    tree = Tree("lineage")
    nodes = {-1: tree}
    for entry in lineage:
        colour = "green" if entry["state"] == "whole" else "red"
        label = f"{entry['artifact']} {entry['role']}  [{colour}]{escape(entry['state'])}[/{colour}]"
        nodes[entry["depth"]] = nodes[entry["depth"] - 1].add(label)
    console.print(tree)
    settings = json.dumps(manifest.identity["config"], indent=1, ensure_ascii=False)
    console.print(f"settings {escape(visible(settings))}")
    if manifest.facts:
        console.print(f"findings {escape(visible(json.dumps(manifest.facts, indent=1, ensure_ascii=False)))}")
    if manifest.made.measured:
        console.print(f"measured {escape(visible(json.dumps(manifest.made.measured, ensure_ascii=False)))}")

"""show: list the artifacts of the store, or verify one of them with everything it was made from."""

import json
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from artifacts.artifact_store import DamageError, Store
from artifacts.errors import RequestError, StageError
from artifacts.manifest import Manifest
from artifacts.text import one_line
from flows.cli.terminal import new_table, stdout_console
from flows.time_labels import minute
from tasks.reporting.escaping import visible

INTACT = "whole"
"""State in the JSON output of an artifact whose files have the recorded digests."""


def show_artifacts(artifact: str | None, as_json: bool) -> None:
    """Print all artifacts, or one with its lineage. StageError if an artifact of the lineage is damaged."""
    store = Store.current()
    if artifact is None:
        _print_list(store.manifests(), as_json)
        return
    manifest = store.by_id(artifact)
    lineage = list(walk(store, manifest))
    if as_json:
        print(json.dumps({"artifact": manifest.model_dump(mode="json"), "lineage": lineage}, ensure_ascii=False))
    else:
        _print_artifact(manifest, lineage, store.absolute(manifest.path))
    if damaged := [entry for entry in lineage if entry["state"] != INTACT]:
        raise StageError(f"{damaged[0]['artifact']}: {damaged[0]['state']}; rerun its recipe to rebuild it")


def walk(store: Store, manifest: Manifest, role: str = "", depth: int = 0) -> Iterator[dict[str, Any]]:
    """Yield the artifact and everything that it was made from, depth first; verify each."""
    yield {
        "artifact": manifest.id,
        "role": role,
        "depth": depth,
        "rows": manifest.rows,
        "state": _state(store, manifest),
    }
    for name, ref in manifest.inputs.items():
        try:
            source = store.by_id(ref.id)
        except RequestError as error:
            yield {"artifact": ref.id, "role": name, "depth": depth + 1, "rows": None, "state": one_line(error, 120)}
            continue
        yield from walk(store, source, name, depth + 1)


def _state(store: Store, manifest: Manifest) -> str:
    try:
        store.verified(manifest.path)
    except DamageError as error:
        return f"damaged: {error}"
    return INTACT


def _print_list(manifests: list[Manifest], as_json: bool) -> None:
    if as_json:
        print(json.dumps([m.model_dump(mode="json") for m in manifests], ensure_ascii=False))
        return
    figures = ("rows", "bytes", "seconds")
    table = new_table("artifact", "variant", "name", *figures, "made (UTC)", right=figures)
    for m in manifests:
        size = sum(seal.bytes for seal in m.files.values())
        name = m.path.split("/")[-1].rsplit("_", 1)[0]
        table.add_row(
            m.id,
            m.variant or "",
            name,
            str(m.rows),
            f"{size:,}",
            f"{m.provenance.seconds:.1f}",
            minute(m.provenance.at),
        )
    stdout_console().print(table if manifests else "no artifacts yet: `dialogsum run` makes them")


def _print_artifact(manifest: Manifest, lineage: list[dict[str, Any]], path: str) -> None:
    console, origin = Console(highlight=False, soft_wrap=True), manifest.provenance
    figures = f"{manifest.rows} rows, {origin.seconds:.1f} s, made {minute(origin.at)} UTC"
    console.print(f"[bold]{manifest.id}[/bold]  {figures}")
    console.print(escape(path))
    for name, seal in manifest.files.items():
        console.print(f"  {name}  {seal.bytes:,} bytes  sha256 {seal.sha256[:16]}")
    tree = Tree("lineage")
    nodes = {-1: tree}
    for entry in lineage:
        state = "[green]intact[/green]" if entry["state"] == INTACT else f"[red]{escape(entry['state'])}[/red]"
        label = f"{entry['artifact']} {entry['role']}  {state}"
        nodes[entry["depth"]] = nodes[entry["depth"] - 1].add(label)
    console.print(tree)
    settings = json.dumps(manifest.identity["config"], indent=1, ensure_ascii=False)
    console.print(f"settings {escape(visible(settings))}")
    if manifest.facts:
        console.print(f"facts {escape(visible(json.dumps(manifest.facts, indent=1, ensure_ascii=False)))}")
    if origin.measured:
        console.print(f"measured {escape(visible(json.dumps(origin.measured, ensure_ascii=False)))}")

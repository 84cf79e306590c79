"""gc and store: what can go, and what the store holds."""

import json
import shutil
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from artifacts import garbage_collection, retention
from artifacts.artifact_store import NUMBERS, Store
from artifacts.errors import RequestError

SCRATCH = ("unpacked base models", "copies of the remote store", "checkpoints and unfinished stages")
"""What lies in the scratch folder; `models` is written by tasks/models/loading.py, copies by artifacts/remote_backend.py."""


def gc(days: float, delete: bool, as_json: bool) -> None:
    """Print what nobody needs any more; with `delete`, remove it."""
    if not 0 <= days <= 36500:
        raise RequestError(f"--days: got {days:g}, expected 0 to 36500")
    store = Store.current()
    if delete:
        store.check_writable()
    found = garbage_collection.survey(days)
    items = garbage_collection.remove(found.items, days) if delete else list(found.items)
    total = sum(item.bytes for item in items)
    if as_json:
        told = [item.model_dump(mode="json") for item in items]
        print(
            json.dumps({"store": str(store.root), "deleted": delete, "bytes": total, "items": told, "kept": found.kept})
        )
        return
    console = Console(highlight=False, soft_wrap=True)
    if items:
        console.print(_table(("what", "", "bytes", "of (UTC)"), [
            (item.kind, item.what, f"{item.bytes:,}", item.at[:16].replace("T", " ")) for item in items
        ]))  # fmt: skip
    console.print(f"{len(found.kept)} artifacts kept ({in_words(found.kept_bytes)})")
    if delete:
        console.print(f"{len(items)} removed, {in_words(total)} freed")
    elif items:
        console.print(f"{len(items)} can go, {in_words(total)}: `dialogsum gc --days {days:g} --delete` removes them")
    else:
        console.print("nothing to remove")


def statistics(as_json: bool) -> None:
    """Print how much each stage has in the store, since when, and what is kept by name."""
    found = measure()
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(escape(found["store"]))
    console.print(_table(("stage", "artifacts", "bytes", "oldest (UTC)", "newest (UTC)"), [
        (row["stage"], str(row["count"]), f"{row['bytes']:,}", *(_short(row[name]) for name in ("oldest", "newest")))
        for row in found["stages"]
    ]))  # fmt: skip
    parts = ", ".join(f"{what} {in_words(size)}" for what, size in found["scratch"].items() if size)
    console.print(
        f"total {in_words(found['bytes'])}; local scratch {in_words(found['scratch_bytes'])}{parts and f' ({parts})'}"
    )
    if parts:
        console.print(escape(
            f"to free scratch: remove {found['scratch_folder']} while no run is active (base models are unpacked again when "
            "needed), or let `dialogsum gc --delete` remove what is older than 30 days"
        ))  # fmt: skip
    for what in ("champions", "pinned"):
        console.print(f"{what}: {', '.join(found[what]) or 'none'}")


def measure() -> dict[str, Any]:
    """The figures of `dialogsum store --json`."""
    store = Store.current()
    stages = []
    for stage in NUMBERS:
        made = store.manifests(stage)
        stages.append({
            "stage": stage, "count": len(made), "bytes": sum(map(garbage_collection.size, made)),
            "oldest": made[0].made.at if made else None, "newest": made[-1].made.at if made else None,
        })  # fmt: skip
    scratch = {  # by number, since a file may have two names there
        (stat := file.lstat()).st_ino: (_kind_of_scratch(file.relative_to(store.scratch).parts[0]), stat.st_size)
        for file in store.scratch.rglob("*") if file.is_file()
    }  # fmt: skip
    kinds = {kind: sum(size for its, size in scratch.values() if its == kind) for kind in SCRATCH}
    free = shutil.disk_usage(store.root.path).free if store.is_local and store.scratch.parent.is_dir() else None
    return {
        "store": str(store.root), "stages": stages, "bytes": sum(row["bytes"] for row in stages),
        "scratch_bytes": sum(kinds.values()), "scratch": kinds, "scratch_folder": str(store.scratch), "free_bytes": free, "pinned": retention.pins(),
        "champions": [name for name, why in retention.championed().items() if why == "champion"],
    }  # fmt: skip


def _kind_of_scratch(folder: str) -> str:
    """What a folder or file directly below the scratch folder is for."""
    unpacked, copies, unfinished = SCRATCH
    return unpacked if folder == "models" else copies if folder in garbage_collection.CACHES else unfinished


def in_words(size: float) -> str:
    """Bytes in the unit that fits."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"


def _short(time: str | None) -> str:
    return time[:16].replace("T", " ") if time else "-"


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="right" if heading in ("bytes", "artifacts") else "left", no_wrap=True)
    for row in rows:
        table.add_row(*map(escape, row))
    return table

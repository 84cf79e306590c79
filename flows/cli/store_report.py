"""gc and store: garbage collection, and the space that each stage uses in the store."""

import json
import shutil
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape

from artifacts import garbage_collection, retention
from artifacts.artifact_path import STAGE_NUMBERS
from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from flows.cli.terminal import new_table
from flows.time_labels import minute

MODELS, COPIES, UNFINISHED = (
    "unpacked base models",
    "copies of the remote store",
    "checkpoints and unfinished stages",
)
"""What the scratch folder holds. tasks/models/loading.py writes the models, artifacts/remote_backend.py the copies."""


def collect_garbage(days: float, reports: int, champions: int | None, delete: bool, as_json: bool) -> None:
    """Print the artifacts and files that `GcPolicy` does not keep; with `delete`, remove them.

    RequestError if `days` is not from 0 to 36500.
    """
    if not 0 <= days <= 36500:
        raise RequestError(f"--days: got {days:g}, expected 0 to 36500")
    policy = garbage_collection.GcPolicy(days=days, reports=reports, champions=champions)
    store = Store.current()
    if delete:
        store.check_writable()
    report = garbage_collection.find_garbage(store, policy)
    items = garbage_collection.remove(store, report.items, days) if delete else list(report.items)
    size = sum(item.bytes for item in items)
    if as_json:
        dumped = [item.model_dump(mode="json") for item in items]
        content = {"store": str(store.root), "deleted": delete, "bytes": size, "items": dumped, "kept": report.kept}
        print(json.dumps(content))
        return
    console = Console(highlight=False, soft_wrap=True)
    if items:
        table = new_table("kind", "name", "bytes", "at (UTC)", right=("bytes",))
        for item in items:
            table.add_row(item.kind, escape(item.what), f"{item.bytes:,}", minute(item.at))
        console.print(table)
    console.print(f"{len(report.kept)} artifacts kept ({decimal(report.kept_bytes)})")
    if delete:
        console.print(f"{len(items)} removed ({decimal(size)})")
    elif items:
        others = {"reports": reports or None, "champions": champions}
        options = "".join(f" --{name} {value}" for name, value in others.items() if value is not None)
        command = f"dialogsum gc --days {days:g}{options} --delete"
        console.print(f"{len(items)} can be removed ({decimal(size)}): `{command}` removes them")
    else:
        console.print("nothing to remove")


def show_store(as_json: bool) -> None:
    """Print how much of each stage the store holds, since when, and which artifacts are champions or pinned."""
    figures = measure()
    if as_json:
        print(json.dumps(figures, ensure_ascii=False))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(escape(figures["store"]))
    table = new_table("stage", "artifacts", "bytes", "oldest (UTC)", "newest (UTC)", right=("artifacts", "bytes"))
    for row in figures["stages"]:
        times = [minute(row[name]) if row[name] else "-" for name in ("oldest", "newest")]
        table.add_row(row["stage"], str(row["count"]), f"{row['bytes']:,}", *times)
    console.print(table)
    parts = ", ".join(f"{kind} {decimal(size)}" for kind, size in figures["scratch"].items() if size)
    scratch = f"{decimal(figures['scratch_bytes'])}{parts and f' ({parts})'}"
    console.print(f"total {decimal(figures['bytes'])}; local scratch {scratch}")
    if parts:
        console.print(
            f"to free scratch: remove {escape(figures['scratch_folder'])} while no run is active (base models are "
            "unpacked again when needed), or let `dialogsum gc --delete` remove what is older than 30 days"
        )
    for kind in ("champions", "pinned"):
        console.print(f"{kind}: {', '.join(figures[kind]) or 'none'}")


def measure() -> dict[str, Any]:
    """The figures that `dialogsum store --json` prints; sizes in bytes."""
    store = Store.current()
    stages = []
    for stage in STAGE_NUMBERS:
        manifests = store.manifests(stage)
        stages.append(
            {
                "stage": stage,
                "count": len(manifests),
                "bytes": sum(map(garbage_collection.size, manifests)),
                "oldest": manifests[0].provenance.at if manifests else None,
                "newest": manifests[-1].provenance.at if manifests else None,
            }
        )
    scratch = _scratch_bytes(store)
    has_free = store.is_local and store.scratch.parent.is_dir()
    return {
        "store": str(store.root),
        "stages": stages,
        "bytes": sum(row["bytes"] for row in stages),
        "scratch_bytes": sum(scratch.values()),
        "scratch": scratch,
        "scratch_folder": str(store.scratch),
        "free_bytes": shutil.disk_usage(store.root.path).free if has_free else None,
        "pinned": retention.pins(store),
        "champions": [name for name, why in retention.champion_artifacts(store).items() if why == "champion"],
    }


def _scratch_bytes(store: Store) -> dict[str, int]:
    """Kind of scratch -> bytes. A file with several names is counted once."""
    files = {}
    for file in store.scratch.rglob("*"):
        if file.is_file():
            stat = file.lstat()
            files[stat.st_ino] = (_scratch_kind(file.relative_to(store.scratch).parts[0]), stat.st_size)
    return {kind: sum(size for each, size in files.values() if each == kind) for kind in (MODELS, COPIES, UNFINISHED)}


def _scratch_kind(folder: str) -> str:
    """Kind of a folder or file in the top level of the scratch folder."""
    if folder == "models":
        return MODELS
    return COPIES if folder in garbage_collection.CACHES else UNFINISHED

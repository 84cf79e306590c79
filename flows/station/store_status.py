"""The store's part of the status: who is champion, and how much space the disks have left."""

import os
import shutil
from pathlib import Path

from artifacts.artifact_store import Store
from artifacts.champions import Champions
from artifacts.errors import RequestError
from artifacts.text import one_line
from flows.station.status_records import ChampionInForce, Disk

MIN_FREE = "DIALOGSUM_MIN_FREE_GB"
"""Variable: less free space than this, in GB (10^9 bytes), is a problem."""
DEFAULT_MIN_FREE = 5.0


def champions_in_force(store: Store) -> list[ChampionInForce]:
    """The champion of every base model, the newest last. RequestError if the store cannot be read."""
    logs = [Champions(store, base) for base in store.side_files.names("champions")]
    found = [
        ChampionInForce(base_model=log.folder[1], adapter=log.current.adapter, since=log.changes[-1].at)
        for log in logs
        if log.current
    ]
    return sorted(found, key=lambda champion: champion.since)


def check_disks(store: Store, station: Path) -> tuple[list[Disk], list[str]]:
    """The local disks of store, scratch and station, and a line for each one that is nearly full."""
    folders = {"store": Path(store.root.path)} if store.is_local else {}
    disks: dict[int, Disk] = {}
    for holds, folder in (folders | {"scratch": store.scratch, "station": station}).items():
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        device = existing.stat().st_dev
        if device in disks:
            disks[device] = disks[device].model_copy(update={"holds": f"{disks[device].holds}, {holds}"})
        else:
            space = shutil.disk_usage(existing)
            disks[device] = Disk(holds=holds, folder=str(folder), free_bytes=space.free, total_bytes=space.total)
    least = min_free_gb()
    problems = [
        f"{disk.free_bytes / 1e9:.1f} GB are free for {disk.holds} ({disk.folder}), less than {least:g} GB "
        f"({MIN_FREE}): `dialogsum gc` lists what can be removed"
        for disk in disks.values()
        if disk.free_bytes < least * 1e9
    ]
    return list(disks.values()), problems


def min_free_gb() -> float:
    """RequestError if the variable is not a number of gigabytes."""
    text = os.environ.get(MIN_FREE, "")
    try:
        least = float(text or DEFAULT_MIN_FREE)
    except ValueError:
        least = -1.0
    if not 0 <= least < float("inf"):
        raise RequestError(f"{MIN_FREE} is {one_line(text, 40)!r}: expected a number of gigabytes, such as 20")
    return least

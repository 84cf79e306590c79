"""GPU slots that are taken although no run holds them: the next run would wait for them forever.

A server that keeps leases in its memory, Prefect's default, forgets them when it is restarted, while the number of
slots that are taken lies in its database. A station keeps them in files, beside its database.
"""

import os
import re
import time
from pathlib import Path
from uuid import UUID

import anyio
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitUpdate
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import GlobalConcurrencyLimitResponse

from tasks.gpu_lease import GPU_LIMIT_VARIABLE

IN_FILES = "prefect.server.concurrency.lease_storage.filesystem"
"""Value of PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE."""
SETTLES = 1.0
"""Seconds within which a slot that is taken has its lease."""
AT_ONCE = 200
"""Limits in one answer of the server, at most; a station has one for each GPU worker."""


def free_unheld(client: SyncPrefectClient, home: Path) -> list[str]:
    """Free the slots that no lease holds, on the station in the folder `home`. Returns the names of their limits."""
    unheld = find_unheld(client, home) or {}
    for limit, held in unheld.items():
        client.update_global_concurrency_limit(limit, GlobalConcurrencyLimitUpdate(active_slots=held))
    return list(unheld)


def find_unheld(client: SyncPrefectClient, home: Path) -> dict[str, int] | None:
    """GPU limits with more slots taken than leases: name -> leases. None if the server's leases are elsewhere."""
    settings = client.request("GET", "/admin/settings").json()
    if settings["server"]["concurrency"]["lease_storage"] != IN_FILES or Path(settings["home"]) != home:
        return None
    suspects = _unheld(client, home)
    if suspects:  # or a slot was taken between the two looks
        time.sleep(SETTLES)
        again = _unheld(client, home)
        return {name: held for name, held in again.items() if name in suspects}
    return {}


def _unheld(client: SyncPrefectClient, home: Path) -> dict[str, int]:
    taken = [limit for limit in gpu_limits(client) if limit.active_slots]
    held = anyio.run(_held, home) if taken else {}
    return {limit.name: held.get(limit.id, 0) for limit in taken if limit.active_slots > held.get(limit.id, 0)}


async def _held(home: Path) -> dict[UUID, int]:
    """Slots by the id of their limit. Leases that have expired count until the server frees their slots."""
    from prefect.server.concurrency.lease_storage.filesystem import ConcurrencyLeaseStorage  # takes seconds

    storage, held = ConcurrencyLeaseStorage(home / "concurrency_leases"), dict[UUID, int]()
    for lease_id in [*await storage.read_active_lease_ids(10_000), *await storage.read_expired_lease_ids(10_000)]:
        lease = await storage.read_lease(lease_id)
        for limit in lease.resource_ids if lease else ():
            held[limit] = held.get(limit, 0) + (lease.metadata.slots if lease and lease.metadata else 0)
    return held


def gpu_limits(client: SyncPrefectClient) -> list[GlobalConcurrencyLimitResponse]:
    """The concurrency limits of the GPUs: those that a station makes, and the one that this process uses."""
    mine = os.environ.get(GPU_LIMIT_VARIABLE)
    limits = client.read_global_concurrency_limits(AT_ONCE)
    return [limit for limit in limits if limit.name == mine or re.fullmatch(r"gpu(-\d+)?", limit.name)]


def describe_unheld(url: str, home: Path | None) -> list[str]:
    """One line with advice for each GPU limit of a server whose slot is taken although no run holds it.

    `home` is the station's folder if `url` is the server of the station on this machine. For another server it is
    only known whether a run of this project is at work.
    """
    with get_client(sync_client=True) as client:
        unheld = find_unheld(client, home) if home else None
        if unheld is not None:
            return [
                f"the slot of {name!r} is taken, but no run holds it: `dialogsum station up` frees it"
                for name in unheld
            ]
        taken = [limit.name for limit in gpu_limits(client) if limit.active_slots]
        if not taken or _at_work(client):
            return []
    return [
        f"the slot of {name!r} is taken, but no run of this project is active on {url}: "
        f"if that is still so in five minutes, free it with `prefect gcl update {name} --active-slots 0`"
        for name in taken
    ]


def _at_work(client: SyncPrefectClient) -> bool:
    from flows.station.provisioning import WATCHED  # takes seconds

    types = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.CANCELLING, StateType.PENDING])
    ours = FlowFilter(name=FlowFilterName(any_=WATCHED))
    at_work = FlowRunFilter(state=FlowRunFilterState(type=types))
    return bool(client.read_flow_runs(flow_filter=ours, flow_run_filter=at_work, limit=1))

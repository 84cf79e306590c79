"""Settings of a Prefect server that cost runs: what `dialogsum doctor` says about a server that others have set up."""

from typing import Any, NamedTuple

from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError

from artifacts.check import Check
from flows.station.slot_recovery import IN_FILES
from tasks.gpu_lease import LEASES_IN_MEMORY


class Requirement(NamedTuple):
    """A setting that a server should not have, and the one that it should."""

    setting: tuple[str, ...]
    """Where it is in `server` of Prefect's settings."""
    wrong: Any
    consequence: str
    remedy: str


REQUIREMENTS = (
    Requirement(
        ("concurrency", "lease_storage"),
        LEASES_IN_MEMORY,
        "the server keeps leases in its memory: a slot that is taken while it restarts stays taken forever. So runs "
        "use no slot, and only a lock of each machine keeps two of them off one GPU",
        f"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE={IN_FILES}",
    ),
    Requirement(
        ("services", "repossessor", "enabled"),
        False,
        "the server frees no slot whose holder has died: later runs wait for the GPU forever",
        "PREFECT_SERVER_SERVICES_REPOSSESSOR_ENABLED=true",
    ),
    Requirement(
        ("services", "triggers", "enabled"),
        False,
        "the server runs no automations: a run whose machine dies counts as Running forever, and nothing is announced",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED=true",
    ),
    Requirement(
        ("events", "expired_bucket_buffer"),
        "PT1M",
        "after an outage of more than a minute, the server no longer notices that a run has died meanwhile",
        "PREFECT_SERVER_EVENTS_EXPIRED_BUCKET_BUFFER=P7D",
    ),
    Requirement(
        ("services", "scheduler", "enabled"),
        False,
        "the server starts no scheduled runs",
        "PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED=true",
    ),
    Requirement(
        ("services", "task_run_recorder", "enabled"),
        False,
        "the server does not record the tasks of runs: their pages stay empty",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED=true",
    ),
)


def check_settings(url: str) -> list[Check]:
    """What is set wrongly on the server at `url`, with the remedy; one check that is ok if nothing is."""
    with get_client(sync_client=True) as client:
        try:
            settings = client.request("GET", "/admin/settings").json()["server"]
        except PrefectHTTPStatusError:  # Prefect Cloud: its settings are not ours to judge
            return []
        notes = [
            f"{each.consequence}. Start the server with {each.remedy}"
            for each in REQUIREMENTS
            if _at(settings, each.setting) == each.wrong
        ]
    return [Check("server", "note", f"{url}: {note}") for note in notes] or [
        Check("server", "ok", f"the settings of {url} cost no run")
    ]


def _at(settings: Any, place: tuple[str, ...]) -> Any:
    """A setting, None if this version of Prefect does not have it."""
    for name in place:
        settings = settings.get(name) if isinstance(settings, dict) else None
    return settings

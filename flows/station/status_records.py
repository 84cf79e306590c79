"""What `dialogsum status` and `/health` know about a store and its station. Times are UTC, ISO 8601."""

from artifacts.record import Record

PACKAGE = "dialogsum-pipeline"
"""Name of this project's distribution."""


class Process(Record):
    """A process of the station on this machine."""

    name: str
    pid: int | None
    """None where it is dead."""
    log: str
    version: str | None = None
    """Version of this project that started it; None: 0.2.0 or earlier."""
    url: str | None = None
    """Address, if it is a server."""
    answers: bool | None = None
    """Whether it answers there."""


class Run(Record):
    """A flow run."""

    id: str
    name: str
    deployment: str | None
    """`retrain/retrain`; None for a run that no deployment started, such as one of `dialogsum run`."""
    state: str
    at: str
    """When it was in this state."""
    message: str
    url: str
    """Its page in the UI."""


class Failure(Run):
    """A run that failed or crashed."""

    remedy: str
    succeeded_since: bool
    """Whether a later run of the same flow has completed."""


class Schedule(Record):
    """A schedule of a deployment."""

    deployment: str
    rule: str
    """`'0 3 * * 1' Europe/Berlin`."""
    timezone: str
    active: bool
    next_run: str | None
    """None if it is inactive, or if the server has not planned a run yet."""
    last_run: Run | None
    """The newest run of the deployment that began, whoever started it."""


class Pool(Record):
    """A work pool of this project."""

    name: str
    paused: bool
    workers: tuple[str, ...]
    """Names of the workers that send heartbeats."""
    waiting: int
    """Runs that are due and have not begun."""
    running: int


class GpuSlot(Record):
    """A concurrency limit of a GPU."""

    name: str
    slots: int
    taken: int
    held_by: tuple[str, ...]
    """Names of the runs of GPU stages that are at work; empty if a run of `dialogsum run` may hold it."""


class Server(Record):
    """The Prefect server. Everything after `answers` is empty if it does not answer."""

    url: str
    answers: bool
    schedules: tuple[Schedule, ...] = ()
    pools: tuple[Pool, ...] = ()
    gpu: tuple[GpuSlot, ...] = ()
    last_failure: Failure | None = None
    announced_to: tuple[str, ...] = ()
    """Names of the services that get announcements."""


class ChampionInForce(Record):
    """The champion of a base model."""

    base_model: str
    """The first 12 hex digits of its revision."""
    adapter: str
    since: str


class Disk(Record):
    """A local disk."""

    holds: str
    """`store`, `scratch` or `station`; joined by commas if they share the disk."""
    folder: str
    free_bytes: int
    total_bytes: int


class Status(Record):
    """The whole picture."""

    ok: bool
    """Whether there are no problems."""
    at: str
    problems: tuple[str, ...]
    """One line each, with the remedy."""
    notes: tuple[str, ...]
    """What a person may want to know and no monitor needs to report."""
    store: str
    champions: tuple[ChampionInForce, ...] | None
    """None if the store cannot be read."""
    disks: tuple[Disk, ...]
    station: str
    """Folder with the files of the station on this machine."""
    processes: tuple[Process, ...]
    """Empty if no station runs on this machine."""
    server: Server | None
    """None if neither a station runs on this machine nor PREFECT_API_URL names a server."""

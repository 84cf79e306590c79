"""dialogsum station: starts, restarts and stops a Prefect server and its workers on this machine.

up      starts the processes that do not run and updates the deployments; safe to call at any time
down    stops runs, workers and server, in this order, so that the server records how the runs ended
status  prints the processes, their addresses, the next scheduled run and problems (exit code 1)

All files are in one folder, `.station` or the one that DIALOGSUM_STATION names: Prefect's database and settings, and a
log and a process id for each process. A station listens on two ports, on the loopback interface unless --host names
another: the Prefect server, and the report server (flows/station/report_server.py) on the next port. With --serve it
also keeps `dialogsum serve` running.
"""

import os
import socket
from contextlib import nullcontext, suppress
from pathlib import Path

from artifacts.artifact_store import Store
from artifacts.errors import RequestError
from flows.integrations.apprise_urls import URLS, requested_urls
from flows.listening import PREFECT_CREDENTIAL, SERVE_TOKEN, credential_for, in_url
from flows.station.current_status import print_status, raise_problems
from flows.station.default_recipe import known_recipe
from flows.station.deploy import deploy, free_slots
from flows.station.environment import station_environment
from flows.station.processes import (
    announce_step,
    answers,
    end_processes,
    flow_run_of,
    our_code,
    process_file,
    process_names,
    read_process_file,
    running_process,
    start_process,
    station_folder,
    wait_for,
)
from flows.station.server_credential import check_credential
from flows.station.serving_process import start_serving
from tasks.reporting.links import REPORTS_URL
from tasks.workers.gpus import gpu_names

SERVERS = ("server", "reports", "serve")
"""Names of the processes that take no runs."""
RUNS = str(max(2, os.cpu_count() or 1))
"""That the CPU pool's worker has at once, each a process of half a GiB; more of them queue."""


def up(
    port: int,
    host: str,
    gpu_workers: int,
    notify: list[str],
    reports_port: int | None = None,
    recipe: str | None = None,
    serve_port: int | None = None,
) -> None:
    """Start server and workers; create pools, limits, automations and deployments. Restarts what has died.

    notify: Apprise URLs that get announcements. Empty: those of DIALOGSUM_NOTIFY, or of an earlier `up`.
    serve_port: also start `dialogsum serve` there. None: only if an earlier `up` did.
    """
    if recipe is not None:
        known_recipe(recipe)
    credential_for(host, PREFECT_CREDENTIAL)
    if serve_port is not None:
        credential_for(host, SERVE_TOKEN)
    announce_to = requested_urls(notify)
    os.environ.pop(URLS, None)  # or every run would inherit the credentials
    folder = station_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(PermissionError):  # a folder of somebody else's
        folder.chmod(0o700)  # logs, parameters and the key of Prefect's secret blocks are in it
    url = f"http://{in_url(host)}:{port}/api"
    running = running_process("server")
    if running is not None and (other_url := read_process_file("server")["url"]) != url:
        raise RequestError(
            f"the station already runs at {other_url}: run `dialogsum station down` first, or use the same port"
        )
    if running is None and answers(url):
        raise RequestError(f"another server answers at {url}: choose another port with --port")
    limits = ["gpu"] if gpu_workers == 1 else [f"gpu-{n + 1}" for n in range(gpu_workers)]
    gpu_workers_now = [name for name in process_names() if name.startswith("gpu")]
    if others := [name for name in gpu_workers_now if name.removesuffix("-worker") not in limits]:
        raise RequestError(
            f"{others[0]} runs, started for another number of GPU workers: run `dialogsum station down` first"
        )
    reports = _choose_reports_url(url, reports_port)
    # for the client and the processes below alike, which run in another folder
    os.environ.update(station_environment(url) | {"DIALOGSUM_STORE": str(Store.current().root)})
    os.environ.setdefault(REPORTS_URL, reports)  # whoever set another knows how browsers reach it
    if running is None:
        announce_step(f"starting the Prefect server at {url}, which takes 10 to 40 s")
        start_process("server", [host, str(port)], our_code(), module="flows.station.server", url=url)
    if running_process("reports") is None:
        record = {"url": reports, "store": os.environ["DIALOGSUM_STORE"]}
        port_of_reports = reports.rsplit(":", 1)[1]
        environment = our_code() | {"DIALOGSUM_STATION": str(folder)}  # its /health reports on this station
        start_process("reports", [host, port_of_reports], environment, module="flows.station.report_server", **record)
    wait_for("server", url)
    wait_for("reports", reports)
    check_credential(url)
    announce_step("creating pools, limits, automations and deployments, which takes 10 to 30 s")
    deploy(limits, announce_to, recipe)
    free_slots()
    if running_process("cpu-worker") is None:
        _start_worker("cpu-worker", "cpu-pool", RUNS)
    for n, limit in enumerate(limits):
        name, gpus = f"{limit}-worker", gpu_names()[n::gpu_workers]
        own = {"DIALOGSUM_GPU_LIMIT": limit} | ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})
        if running_process(name) is None:
            _start_worker(name, "gpu-pool", "1", own)
    start_serving(host, serve_port, recipe)
    print_status()
    ui = url.removesuffix("/api")
    print(
        f"next: {ui}/deployments?deployments.tags.name=dialogsum has the forms of retrain, evaluate, promote "
        "and summarize"
    )
    print("`dialogsum station down` or `make down` stops the station")


def down() -> None:
    """Stop runs, workers and server. Finished stages are kept; an interrupted run resumes when it is started again."""
    names = process_names()
    if not names:
        print(f"the station is down already ({station_folder()})")
        return
    announce_step("ending runs, workers and the server, which takes 10 to 40 s")
    processes = {name: process for name in names if (process := running_process(name))}
    workers = [process for name, process in processes.items() if name not in SERVERS]
    reachable = bool(workers) and answers(read_process_file("server").get("url", ""))
    if reachable:
        os.environ.update(station_environment(read_process_file("server")["url"]))
        check_credential(read_process_file("server")["url"])
        from flows.station.provisioning import (  # takes seconds, which a station that is down needs not
            finalize_orphaned_runs,
            paused,
        )
    # or a worker would start the next run in the place of each that is ended
    with paused() if reachable else nullcontext():
        ended = set[str]()
        while runs := [run for worker in workers for run in worker.children(recursive=True)]:
            ended |= {name for run in runs if (name := flow_run_of(run))}
            end_processes(runs)
        end_processes(workers)
        if reachable:
            finalize_orphaned_runs(ended)
    end_processes([process for name, process in processes.items() if name in SERVERS])
    for name in names:
        process_file(name).unlink(missing_ok=True)
        print(f"{name}: {'stopped' if name in processes else 'was not running'}")


def status() -> None:
    """Print what runs, where, and the next scheduled run. StageError if something is wrong with the station."""
    if not process_names():
        print(f"the station is down ({station_folder()}); `dialogsum station up` starts it")
        return
    raise_problems(print_status())


def station_server() -> tuple[str | None, Path]:
    """Address of the station's Prefect server, None unless it answers, and the station's files."""
    url = read_process_file("server").get("url", "")
    return url if running_process("server") and answers(url) else None, station_folder()


def _start_worker(name: str, pool: str, limit: str, environment: dict[str, str] | None = None) -> None:
    command = ["worker", "start", "--pool", pool, "--name", name, "--limit", limit]
    start_process(name, command, our_code() | (environment or {}), module="flows.station.worker")


def reports_url(api: str | None) -> str | None:
    """Address of the station's report server, if the station runs the server at `api` and uses this process's store."""
    noted = read_process_file("reports")
    ours = read_process_file("server").get("url") == api and noted.get("store") == str(Store.current().root)
    return noted["url"] if ours and running_process("reports") else None


def _choose_reports_url(api: str, port: int | None) -> str:
    """Address of the report server, beside the Prefect server. RequestError if another process uses the port."""
    noted = read_process_file("reports").get("url")
    host, server_port = api.removesuffix("/api").rsplit(":", 1)
    url = str(noted) if noted and port is None else f"{host}:{port or int(server_port) + 1}"
    if running_process("reports") is not None:
        if url != noted:
            raise RequestError(
                f"the report server already runs at {noted}: run `dialogsum station down` first, or use the same port"
            )
        return url
    with suppress(OSError), socket.create_connection((host.removeprefix("http://"), int(url.rsplit(":", 1)[1])), 5):
        raise RequestError(
            f"another process listens at {url}, the address of the report server: choose a port with --reports-port"
        )
    return url

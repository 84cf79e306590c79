"""station up, down, status: flows/station/supervisor.py."""

from typing import Annotated

import typer

from flows.cli.options import recipes

station = typer.Typer(help="Prefect server, deployments and workers on this machine.")


@station.command()
def up(
    port: Annotated[int, typer.Option("--port", help="Port of the server.")] = 4200,
    host: Annotated[str, typer.Option("--host", help="Interface to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    gpu_workers: Annotated[int, typer.Option("--gpu-workers", min=1, help="Each gets its share of the GPUs.")] = 1,
    notify: Annotated[
        str | None, typer.Option("--notify", metavar="URL", help="Gets a POST when a model is rejected or a run fails.")
    ] = None,
    reports_port: Annotated[
        int | None, typer.Option("--reports-port", help="Port of the report server; the one after --port unless given.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME",
            help="Default recipe of the deployments; otherwise the champion's, or one that can run here.",
            autocompletion=recipes,
        ),
    ] = None,
) -> None:
    """Start server and workers, make pools, limits, automations and deployments. Again: starts what has died."""
    from flows.station import supervisor as running

    running.up(port, host, gpu_workers, notify, reports_port, recipe)


@station.command()
def down() -> None:
    """End runs, workers and server. What is finished is kept; a run that is interrupted goes on when it is started again."""
    from flows.station import supervisor as running

    running.down()


@station.command()
def status() -> None:
    """Print what runs and where."""
    from flows.station import supervisor as running

    running.status()

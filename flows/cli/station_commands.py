"""station up, down, status: start, stop and check a station."""

from typing import Annotated

import typer

from flows.cli.options import Debug, recipes

commands = typer.Typer(help="Prefect server, deployments and workers on this machine.")


@commands.command()
def up(
    port: Annotated[int, typer.Option("--port", metavar="PORT", help="Port of the Prefect server.")] = 4200,
    host: Annotated[
        str,
        typer.Option(
            "--host",
            "--bind",
            metavar="ADDRESS",
            help="Interface to listen on; others than loopback need a credential.",
        ),
    ] = "127.0.0.1",
    gpu_workers: Annotated[
        int,
        typer.Option(
            "--gpu-workers", metavar="N", min=1, help="Number of GPU workers; the GPUs are divided among them."
        ),
    ] = 1,
    notify: Annotated[
        list[str] | None,
        typer.Option(
            "--notify",
            metavar="URL|none",
            help="Apprise URL that is told of promoted and rejected models and of failed and late runs; repeatable.",
        ),
    ] = None,
    reports_port: Annotated[
        int | None,
        typer.Option("--reports-port", metavar="PORT", help="Port of the report server; default: --port plus 1."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="NAME",
            help="Default recipe of the deployments; default: the champion's, or one that can run here.",
            autocompletion=recipes,
        ),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Also keep `dialogsum serve` running, which serves the champion.")
    ] = False,
    serve_port: Annotated[int, typer.Option("--serve-port", metavar="PORT", help="Port of `dialogsum serve`.")] = 8000,
    debug: Debug = False,
) -> None:
    """Start server, workers and deployments. Running it again restarts what has stopped."""
    from flows.station import supervisor

    supervisor.up(port, host, gpu_workers, notify or [], reports_port, recipe, serve_port if serve else None)


@commands.command()
def down(debug: Debug = False) -> None:
    """Stop runs, workers and server. Finished stages are kept; an interrupted run resumes when it is started again."""
    from flows.station import supervisor

    supervisor.down()


@commands.command()
def status(debug: Debug = False) -> None:
    """Show what is running, the next scheduled run, and problems."""
    from flows.station import supervisor

    supervisor.status()

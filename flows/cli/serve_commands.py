"""serve: an HTTP server for the champion."""

from typing import Annotated, Any

import typer

from flows.cli.options import Debug, Overrides, recipes

commands = typer.Typer()


@commands.command()
def serve(
    host: Annotated[
        str,
        typer.Option(
            "--host", "--bind", metavar="ADDRESS", help="Interface to listen on; others than loopback need a token."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="PORT", min=1, max=65535, help="Port to listen on.")] = 8000,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            metavar="RECIPE",
            help="Recipe that names the base model; default: that of the newest champion.",
            autocompletion=recipes,
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option("--engine", metavar="native|vllm", help="Decoder of this project, or vLLM if it is installed."),
    ] = "native",
    requests: Annotated[
        int, typer.Option("--requests", metavar="N", min=1, help="Requests at once, at most; more get status 429.")
    ] = 64,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="N", min=0.1, help="Time limit of a request, and of stopping.")
    ] = 120.0,
    body_bytes: Annotated[
        int, typer.Option("--body-bytes", metavar="N", min=1, help="Size of a request in bytes, at most.")
    ] = 1 << 20,
    models: Annotated[int, typer.Option("--models", metavar="N", min=2, help="Models in memory, at most.")] = 3,
    poll_seconds: Annotated[
        float,
        typer.Option("--poll-seconds", metavar="N", min=0.1, help="Time between two looks for a new champion."),
    ] = 2.0,
    overrides: Overrides = None,
    debug: Debug = False,
) -> None:
    """Serve the champion over HTTP as OpenAI's API does, and follow the champion log."""
    from artifacts.errors import RequestError
    from flows.listening import SERVE_TOKEN, credential_for
    from flows.serving.config import ENGINES, Limits, ServeConfig

    if engine not in ENGINES:
        raise RequestError(f"--engine {engine}: expected {', '.join(ENGINES)}")
    credential_for(host, SERVE_TOKEN)
    chosen: Any = engine
    config = ServeConfig(
        host=host,
        port=port,
        recipe=recipe,
        overrides=tuple(overrides or ()),
        engine=chosen,
        limits=Limits(requests=requests, seconds=seconds, body_bytes=body_bytes, models=models),
        poll_seconds=poll_seconds,
    )
    from flows.serving.server import serve

    serve(config)

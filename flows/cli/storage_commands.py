"""store, gc, pin, unpin: what the store keeps."""

from typing import Annotated

import typer

from flows.cli.options import ArtifactId, AsJson, Debug

keeping = typer.Typer()


@keeping.command("store")
def statistics(as_json: AsJson = False, debug: Debug = False) -> None:
    """Show what each stage has in the store. Also who is champion, and what is pinned."""
    from flows.cli import store_report

    store_report.statistics(as_json)


@keeping.command()
def gc(
    days: Annotated[float, typer.Option("--days", metavar="N", help="Keep what was made or used within N days.")] = 30,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; otherwise it is only listed.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List artifacts that are no longer needed; --delete removes them. Whatever champions, pins and recent runs need is kept."""
    from flows.cli import store_report

    store_report.gc(days, delete, as_json)


@keeping.command()
def pin(artifact: ArtifactId, debug: Debug = False) -> None:
    """Keep an artifact, and all it was made from, whatever its age."""
    from artifacts import retention

    retention.pin(artifact)
    print(f"{artifact} is pinned")


@keeping.command()
def unpin(artifact: ArtifactId, debug: Debug = False) -> None:
    """Unpin an artifact, so that gc may remove it."""
    from artifacts import retention

    retention.unpin(artifact)
    print(f"{artifact} is no longer pinned")

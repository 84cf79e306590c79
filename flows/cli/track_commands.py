"""track: send the runs of the store to experiment trackers."""

from typing import Annotated

import typer

from flows.cli.options import AsJson, Debug, completed

commands = typer.Typer()


def _trackers() -> list[str]:
    from flows.integrations.tracker import tracker_names

    return tracker_names()


@commands.command()
def track(
    backfill: Annotated[
        bool, typer.Option("--backfill", help="Send everything that the store holds, also of runs without `track`.")
    ] = False,
    tracker: Annotated[
        list[str] | None,
        typer.Option(
            "--tracker",
            metavar="NAME",
            help="Tracker to send to; repeatable. Default: those that have got or are to get something.",
            autocompletion=completed(_trackers),
        ),
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Send to experiment trackers what they have not got. Shows what is sent and what waits."""
    from flows.cli.tracker_status import send_and_show

    send_and_show(tracker or [], backfill, as_json)

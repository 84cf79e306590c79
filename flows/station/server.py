"""The Prefect server of a station: `python -m flows.station.server server start …`, as `prefect server start …`.

A server that has just started has received no heartbeats while it was away, and would mark every run as Crashed before
the runs reach it again. Here it looks for missing heartbeats a while later.
"""

import time
from collections.abc import Callable, Coroutine
from typing import Any

REPORT_SECONDS = 300.0
"""As long as an automation waits for a heartbeat: time in which runs reach a server that has started."""


def after(seconds: float, judge: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], Coroutine[Any, Any, None]]:
    """`judge`, which does nothing until some seconds after its first call."""
    called_at: float | None = None

    async def judge_later() -> None:
        nonlocal called_at
        called_at = called_at or time.monotonic()
        if time.monotonic() - called_at >= seconds:
            await judge()

    return judge_later


if __name__ == "__main__":
    from prefect.cli import app
    from prefect.server.events import triggers

    triggers.evaluate_proactive_triggers = after(REPORT_SECONDS, triggers.evaluate_proactive_triggers)
    app()

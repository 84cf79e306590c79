"""A retraining, or a flow that does nothing, as a child of `bench unchanged`."""

import os
from typing import Any

from flows.benchmarks.child_process import be_child


def work(config: dict[str, Any]) -> dict[str, Any]:
    """`empty`, or the recipe as the command line runs it. Returns the number of stages, and which of them ran."""
    if config["empty"]:
        from prefect import flow

        @flow(name="empty")
        def nothing() -> None: ...

        nothing()
        return {"stages": 0, "ran": []}
    # as `dialogsum run` has it, or a station ends it after five minutes
    os.environ.setdefault("PREFECT_FLOWS_HEARTBEAT_FREQUENCY", "30")
    from flows.pipeline import retrain

    summary: Any = retrain(recipe=config["recipe"], overrides=config["overrides"], refresh=[])
    ran = [f"{e['stage']} {e['of'] or ''}".strip() for e in summary["stages"] if e["status"] == "run"]
    return {"stages": len(summary["stages"]), "ran": ran}


if __name__ == "__main__":
    be_child(work)

"""A child of `bench unchanged`: a retraining, or a flow that does nothing."""

from typing import Any

from flows.benchmarks.child_process import child_main


def measure(config: dict[str, Any]) -> dict[str, Any]:
    """Run an empty flow or the recipe. Returns the number of stages, and which of them were not reused."""
    if config["empty"]:
        from prefect import flow

        @flow(name="empty")
        def empty() -> None: ...

        empty()
        return {"stages": 0, "ran": []}
    from flows.prefect_environment import configure_prefect

    configure_prefect()  # as `dialogsum run` does
    from flows.pipeline import retrain

    summary: Any = retrain(recipe=config["recipe"], overrides=config["overrides"], refresh=[])
    ran = [entry.label for entry in summary.stages if entry.status == "run"]
    return {"stages": len(summary.stages), "ran": ran}


if __name__ == "__main__":
    child_main(measure)

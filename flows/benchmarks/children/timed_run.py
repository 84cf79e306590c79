"""A child of `bench pipeline`: a run of the pipeline, with the times at which each stage started and ended."""

import sys
import time
from pathlib import Path
from typing import Any

from flows.benchmarks.child_process import child_main
from tasks.execution.listener import StageEntry


class StageTimes:
    """Listener that records the time of the first and the last event of each stage, in seconds since the epoch."""

    def __init__(self) -> None:
        self.stages: list[dict[str, Any]] = []

    def stage(self, label: str, status: str, reason: str, artifact: str) -> None:
        self.stages.append({"label": label, "started": time.time(), "last_event": time.time()})

    def finished(self, entry: StageEntry) -> None:
        self.stages[-1] |= {"ended": time.time(), "stage": entry.stage, "artifact": entry.artifact}

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.stages[-1]["last_event"] = time.time()

    def log(self, line: str) -> None:
        self.stages[-1]["last_event"] = time.time()
        print(line, file=sys.stderr, flush=True)

    def metrics(self, step: int, values: dict[str, float]) -> None:
        self.stages[-1]["last_event"] = time.time()


def measure(config: dict[str, Any]) -> dict[str, Any]:
    """Run the recipe as the command line does. Durations are in seconds, times in seconds since the epoch."""
    from artifacts.artifact_store import Store
    from flows.recipe import load_recipe
    from tasks.sources.resolve import resolve_model

    recipe = load_recipe(config["recipe"], config["overrides"])
    Store.current().check_writable()
    hashing = time.perf_counter()
    resolve_model(recipe.model)  # hashes the model; the flow uses the digest that this leaves
    hashing = time.perf_counter() - hashing

    importing = time.perf_counter()
    from flows import pipeline
    from tasks.prefect_task import listening

    importing = time.perf_counter() - importing
    times = StageTimes()
    started = time.time()
    with listening(times):
        summary: Any = pipeline.retrain(recipe=config["recipe"], overrides=config["overrides"], refresh=[])
    sealing = time.perf_counter()
    store = Store(str(Store.current().root))  # a new one has verified nothing yet
    manifests = {}
    for stage in times.stages:
        manifests[stage["artifact"]] = store.by_id(stage["artifact"]).model_dump(
            mode="json", include={"provenance", "rows"}
        )
        store.verified(store.by_id(stage["artifact"]).path)
    sealing = time.perf_counter() - sealing
    return {
        "stages": times.stages,
        "manifests": manifests,
        "started": started,
        "importing": importing,
        "hashing": hashing,
        "sealing": sealing,
        "scores": summary.scores,
        "report_bytes": Path(summary.report).stat().st_size,
    }


if __name__ == "__main__":
    child_main(measure)

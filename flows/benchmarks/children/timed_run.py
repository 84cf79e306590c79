"""`dialogsum run` with a stopwatch: the same flow, and when each stage began, spoke last and was done. A child."""

import sys
import time
from pathlib import Path
from typing import Any

from flows.benchmarks.child_process import be_child


class Watch:
    """Listener that notes times of day."""

    def __init__(self) -> None:
        self.stages: list[dict[str, Any]] = []

    def stage(self, label: str, status: str, reason: str) -> None:
        self.stages.append({"label": label, "began": time.time(), "spoke": time.time()})

    def finished(self, entry: dict[str, Any]) -> None:
        self.stages[-1] |= {"done": time.time(), "stage": entry["stage"], "artifact": entry["artifact"]}

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.stages[-1]["spoke"] = time.time()

    def log(self, line: str) -> None:
        self.stages[-1]["spoke"] = time.time()
        print(line, file=sys.stderr, flush=True)


def work(config: dict[str, Any]) -> dict[str, Any]:
    """Run the recipe as the command line does. Times are seconds since the epoch."""
    from artifacts.artifact_store import Store
    from flows.recipe import load_recipe
    from tasks.sources.resolve import resolve_model

    recipe = load_recipe(config["recipe"], config["overrides"])
    Store.current().check_writable()
    hashing = time.perf_counter()
    resolve_model(recipe.model)  # the bytes are hashed here, and remembered for the flow
    hashing = time.perf_counter() - hashing

    importing = time.perf_counter()
    from flows import pipeline
    from tasks.prefect_task import terminal

    importing = time.perf_counter() - importing
    watch = Watch()
    before, began = terminal.set(watch), time.time()
    summary: Any = pipeline.retrain(recipe=config["recipe"], overrides=config["overrides"], refresh=[])
    terminal.reset(before)
    sealing = time.perf_counter()
    store = Store(str(Store.current().root))  # a fresh one has verified nothing yet
    manifests = {}
    for stage in watch.stages:
        manifests[stage["artifact"]] = store.by_id(stage["artifact"]).model_dump(mode="json", include={"made", "rows"})
        store.verified(store.by_id(stage["artifact"]).path)
    sealing = time.perf_counter() - sealing
    return {
        "stages": watch.stages, "manifests": manifests, "began": began, "importing": importing,
        "hashing": hashing, "sealing": sealing, "scores": summary["scores"], "report_bytes": Path(summary["report"]).stat().st_size,
    }  # fmt: skip


if __name__ == "__main__":
    be_child(work)

"""bench pipeline: a whole `run` from nothing, and where every second of it went. The rows sum to the wall time."""

from datetime import datetime
from typing import Any

from artifacts.errors import RequestError
from flows.benchmarks.environment import Asked, running

REST = "Prefect, and all else"
Row = dict[str, Any]


def bench_pipeline(asked: Asked) -> tuple[list[Row], str]:
    """Run the recipe in an empty store; returns the ledger of its seconds and a remark."""
    with running(asked) as run:
        found = run.tried("run", "children.timed_run")
        if "failed" in found:
            raise RequestError(f"the run failed: {found['failed']}; its log is in {run.folder}")
    rows = ledger(found)
    said = {name: score["rouge1"] for name, score in found["scores"].items() if "rouge1" in score}
    remark = (
        f"recipe {run.recipe}, {found['wall_seconds']:.1f} s wall in all; ROUGE-1 {said}, report of {found['report_bytes']:,} bytes. "
        f"The seals of the artifacts are timed by verifying them again afterwards ({found['sealing']:.2f} s, not in the wall time)."
    )
    return rows, remark


def ledger(found: dict[str, Any]) -> list[Row]:
    """Rows of part, seconds and share, from the child's times, the manifests and what the stages measured."""
    # the second verification is the benchmark's own; the run's, of each artifact once, cost about as much
    wall = found["wall_seconds"] - found["sealing"]
    parts: list[tuple[str, float]] = [
        ("import: command line and Prefect", found["importing"]),
        ("hashing: the base model's bytes", found["hashing"]),
        ("Prefect: until the first stage", found["stages"][0]["began"] - found["began"]),
    ]
    for stage in found["stages"]:
        parts += _parts(stage, found["manifests"][stage["artifact"]])
    parts.append(("hashing: the artifacts' seals", found["sealing"]))
    rows = [(name, round(seconds, 2)) for name, seconds in parts]
    rows.append((REST, round(round(wall, 2) - sum(seconds for _, seconds in rows), 2)))
    rows.append(("wall", round(wall, 2)))
    return [{"part": name, "seconds": seconds, "%": round(100 * seconds / wall, 1)} for name, seconds in rows]


def _parts(stage: dict[str, Any], manifest: dict[str, Any]) -> list[tuple[str, float]]:
    made, label = manifest["made"], stage["label"]
    measured = made["measured"]
    if "loading_seconds" not in measured:
        return [(label, made["seconds"])]
    # saving: from the worker's last word to the end of the stage; importing: what is left before it began to load
    saving = min(max(0.0, datetime.fromisoformat(made["at"]).timestamp() - stage["spoke"]), made["seconds"])
    known = [("load", measured["loading_seconds"]), ("warm-up", measured.get("compile_seconds", 0.0))]
    if "training_seconds" in measured:
        validation = measured.get("validation_seconds", 0.0)
        known += [("train", measured["training_seconds"] - validation), ("evaluate", validation)]
    else:
        known += [("decode", measured["generating_seconds"])]
    known.append(("save and end", saving))
    # two processes' clocks: less than nothing may be left where a worker imports nothing
    importing = max(0.0, made["seconds"] - sum(seconds for _, seconds in known))
    return [
        (f"{label}: {name}", seconds)
        for name, seconds in [("import", importing), *known]
        if seconds or name == "import"
    ]

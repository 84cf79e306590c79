"""bench pipeline: a complete run in an empty store; its rows sum to the wall time."""

from datetime import datetime
from typing import Any

from artifacts.errors import RequestError
from flows.benchmarks.environment import BenchmarkSettings, benchmark_run

REST = "Prefect, and all else"
Row = dict[str, Any]


def bench_pipeline(settings: BenchmarkSettings) -> tuple[list[Row], str]:
    """Run the recipe in an empty store. Returns a row for each part of the time, and a remark."""
    with benchmark_run(settings) as run:
        result = run.run_system("run", "children.timed_run")
        if "failed" in result:
            raise RequestError(f"the run failed: {result['failed']}; its log is in {run.folder}")
    rouge1 = {system: score["rouge1"] for system, score in result["scores"].items() if "rouge1" in score}
    remark = (
        f"recipe {run.recipe}, {result['wall_seconds']:.1f} s wall time; ROUGE-1 {rouge1}, report of "
        f"{result['report_bytes']:,} bytes. The time for hashing the artifacts is that of verifying them once more "
        f"afterwards ({result['sealing']:.2f} s, not in the wall time)."
    )
    return ledger(result), remark


def ledger(result: dict[str, Any]) -> list[Row]:
    """Rows of part, seconds and percent, from the child's times, the manifests and the stages' own measurements."""
    # the second verification belongs to the benchmark; the run's own, once for each artifact, took about as long
    wall = result["wall_seconds"] - result["sealing"]
    parts: list[tuple[str, float]] = [
        ("import: command line and Prefect", result["importing"]),
        ("hashing: base model", result["hashing"]),
        ("Prefect: until the first stage", result["stages"][0]["started"] - result["started"]),
    ]
    for stage in result["stages"]:
        parts += _stage_parts(stage, result["manifests"][stage["artifact"]])
    parts.append(("hashing: artifacts", result["sealing"]))
    rows = [(name, round(seconds, 2)) for name, seconds in parts]
    rows.append((REST, round(round(wall, 2) - sum(seconds for _, seconds in rows), 2)))
    rows.append(("wall", round(wall, 2)))
    return [{"part": name, "seconds": seconds, "%": round(100 * seconds / wall, 1)} for name, seconds in rows]


def _stage_parts(stage: dict[str, Any], manifest: dict[str, Any]) -> list[tuple[str, float]]:
    provenance, label = manifest["made"], stage["label"]
    measured = provenance["measured"]
    if "loading_seconds" not in measured:
        return [(label, provenance["seconds"])]
    # saving: from the worker's last event to the end of the stage; importing: what remains, before it began to load
    end = datetime.fromisoformat(provenance["at"]).timestamp()
    saving = min(max(0.0, end - stage["last_event"]), provenance["seconds"])
    known = [("load", measured["loading_seconds"]), ("warm-up", measured.get("compile_seconds", 0.0))]
    if "training_seconds" in measured:
        validation = measured.get("validation_seconds", 0.0)
        known += [("train", measured["training_seconds"] - validation), ("evaluate", validation)]
    elif "scoring_seconds" in measured:
        known += [("score", measured["scoring_seconds"])]
    else:
        known += [("decode", measured["generating_seconds"])]
    known.append(("save and end", saving))
    # the clocks are those of two processes: where a worker imports nothing, the remainder may be negative
    importing = max(0.0, provenance["seconds"] - sum(seconds for _, seconds in known))
    return [
        (f"{label}: {name}", seconds)
        for name, seconds in [("import", importing), *known]
        if seconds or name == "import"
    ]

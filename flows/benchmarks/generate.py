"""bench generate: our generate stage compared with transformers' `generate` and the article's loop."""

from typing import Any

from flows.benchmarks.environment import BenchmarkRun, BenchmarkSettings, benchmark_run, select_systems
from flows.recipe import load_recipe
from tasks.workers.gpus import visible_gpus

STAGES = {"ours-stage": 1, "ours-stage-x2": 2}
"""Systems that are the complete stage with its processes -> GPUs."""
SYSTEMS = ("ours", "transformers", "article", "ours-stage")
Row = dict[str, Any]


def bench_generate(
    settings: BenchmarkSettings, systems: str | None, limit: int, new_tokens: int, article_rows: int
) -> tuple[list[Row], str]:
    """Generate `new_tokens` tokens for `limit` test dialogues, and with the article's loop for `article_rows` of them.

    Returns a row for each system, and a remark.
    """
    same_weights = "generate.quantization=none"  # as transformers loads them
    overrides = (f"generate.limit={limit}", f"generate.max_new_tokens={new_tokens}", "train.limit=1", same_weights)
    table: list[Row] = []
    with benchmark_run(settings) as run:
        facts, rows = run.prepare(*overrides)
        rank = load_recipe(run.recipe, run.overrides).train.lora.rank
        known = (*SYSTEMS, "ours-stage-x2") if systems or visible_gpus() > 1 else SYSTEMS
        for system in select_systems(systems, known):
            if system == "ours":
                row = run.run_system(system, "children.our_stages", *overrides, do="decode")
            elif system in STAGES:
                row = _run_stage(run, system, overrides, table)
            else:
                config = {"system": system, "model": facts["model"], "rows": str(rows), "new_tokens": new_tokens}
                config |= {"article_rows": article_rows, "rank": rank}
                row = run.run_system(system, "children.peer_generation", **config)
            if "failed" not in row:
                row["tokens_per_second"] = row["tokens"] / row["seconds"]
                row["peak_gib"] = row["peak_ram_gib"] if row["peak_gib"] is None else row["peak_gib"]
            table.append({"system": system} | row)
    ours = next((row for row in table if row["system"].startswith("ours") and "failed" not in row), None)
    for row in table:
        row["ratio"] = row["seconds"] / ours["seconds"] if ours and "failed" not in row else None
    device = next((row["device"] for row in table if "failed" not in row), "no system finished")
    remark = (
        f"{device}; {facts['prompts']} test dialogues, {facts['prompt_tokens']:.0f} prompt tokens on average, at most "
        f"{new_tokens} new tokens each. Seconds: without loading; total s: with imports and loading. "
        "Ratio: the row's seconds divided by those of the first of ours."
    )
    return table, remark


def _run_stage(run: BenchmarkRun, system: str, overrides: tuple[str, ...], table: list[Row]) -> Row:
    """The complete stage, in a refreshed run so that it is not reused. table: the rows so far."""
    gpus = f"runtime.gpus={STAGES[system]}"
    row = run.run_system(system, "children.our_stages", *overrides, gpus, do="generate", refresh=True)
    if "failed" in row:
        return row
    capture = row["stage"].get("recording_seconds", 0.0)
    row["note"] = f"generate stage, its first and only pass, {capture:.1f} s of it graph capture"
    earlier = next((each for each in table if each["system"] in STAGES and "failed" not in each), None)
    if earlier:
        same = row["digest"] == earlier["digest"]
        row["note"] += f"; {'the same bytes as' if same else 'NOT the bytes of'} {earlier['system']}"
    return row


def in_columns(table: list[Row]) -> list[dict[str, str]]:
    """The rows with the columns that are printed."""
    return [_failure(row) if "failed" in row else _figures(row) for row in table]


def _failure(row: Row) -> dict[str, str]:
    columns = ("seconds", "new tok/s", "peak GiB", "total s", "ratio")
    return {"system": row["system"], **dict.fromkeys(columns, "-"), "note": row["failed"]}


def _figures(row: Row) -> dict[str, str]:
    return {
        "system": row["system"],
        "seconds": f"{row['seconds']:.2f}",
        "new tok/s": f"{row['tokens_per_second']:,.0f}",
        "peak GiB": f"{row['peak_gib']:.1f}",
        "total s": f"{row['wall_seconds']:.0f}",
        "ratio": f"{row['ratio']:.2f}" if row["ratio"] else "-",
        "note": row["note"],
    }

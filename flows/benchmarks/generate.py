"""bench generate: our generate stage beside transformers' `generate` and the article's loop, on the same prompts."""

from typing import Any

from flows.benchmarks.environment import Asked, Run, chosen, running
from flows.recipe import load_recipe
from tasks.workers.gpus import visible_gpus

STAGES = {"ours-stage": 1, "ours-stage-x2": 2}
"""GPUs of the whole stage, processes and all."""
SYSTEMS = ("ours", "transformers", "article", "ours-stage")


def bench_generate(
    asked: Asked, systems: str | None, limit: int, new_tokens: int, timed: int
) -> tuple[list[dict[str, Any]], str]:
    """Generate `new_tokens` for each of `limit` test dialogues; the article's loop for `timed` of them."""
    overrides = (f"generate.limit={limit}", f"generate.max_new_tokens={new_tokens}", "train.limit=1")
    table: list[dict[str, Any]] = []
    with running(asked) as run:
        facts, rows = run.prepare(*overrides)
        rank = load_recipe(run.recipe, run.overrides).train.lora.rank
        known = (*SYSTEMS, "ours-stage-x2") if systems or visible_gpus() > 1 else SYSTEMS
        for name in chosen(systems, known):
            if name == "ours":
                found = run.tried(name, "children.our_stages", *overrides, do="decode")
            elif name in STAGES:
                found = _stage(run, name, overrides, table)
            else:
                config = {"system": name, "model": facts["model"], "rows": str(rows), "new_tokens": new_tokens}
                found = run.tried(name, "children.peer_generation", **config, timed=timed, rank=rank)
            if "failed" not in found:
                found["tokens_per_second"] = found["tokens"] / found["seconds"]
                found["peak_gib"] = found["peak_ram_gib"] if found["peak_gib"] is None else found["peak_gib"]
            table.append({"system": name} | found)
    ours = next((row for row in table if row["system"].startswith("ours") and "failed" not in row), None)
    for row in table:
        row["ratio"] = row["seconds"] / ours["seconds"] if ours and "failed" not in row else None
    device = next((row["device"] for row in table if "failed" not in row), "no system finished")
    remark = (
        f"{device}; {facts['prompts']} test dialogues of {facts['prompt_tokens']:.0f} prompt tokens, {new_tokens} new tokens "
        f"each at most. Seconds: after loading; in all: imports and loading too. Ratio: the row's seconds to the first of ours."
    )
    return table, remark


def _stage(run: Run, name: str, overrides: tuple[str, ...], before: list[dict[str, Any]]) -> dict[str, Any]:
    """The stage in its own store, so that it runs."""
    found = run.tried(
        name, "children.our_stages", *overrides, f"runtime.gpus={STAGES[name]}", do="generate", refresh=True
    )
    if "failed" in found:
        return found
    recording = found["stage"].get("recording_seconds", 0.0)
    found["note"] = f"generate stage, its first and only pass, {recording:.1f} s of it recording"
    earlier = next((row for row in before if row["system"] in STAGES and "failed" not in row), None)
    if earlier:
        found["note"] += (
            f"; {'the same bytes as' if found['digest'] == earlier['digest'] else 'NOT the bytes of'} {earlier['system']}"
        )
    return found


def shown(table: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The rows as a person reads them."""
    return [
        {"system": row["system"]} | (dict.fromkeys(("seconds", "new tok/s", "peak GiB", "in all s", "ours is x"), "-") | {"note": row["failed"]} if "failed" in row else {
            "seconds": f"{row['seconds']:.2f}",
            "new tok/s": f"{row['tokens_per_second']:,.0f}",
            "peak GiB": f"{row['peak_gib']:.1f}",
            "in all s": f"{row['wall_seconds']:.0f}",
            "ours is x": f"{row['ratio']:.2f}" if row["ratio"] else "-",
            "note": row["note"],
        })
        for row in table
    ]  # fmt: skip

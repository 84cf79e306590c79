"""bench train: our train stage beside what others reach on the same rows, one system after another."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from flows.benchmarks.environment import Asked, Run, chosen, running
from flows.benchmarks.flops import Shape, mfu, peak_of, per_token
from flows.recipe import Recipe, load_recipe
from tasks.workers.gpus import visible_gpus

ONE = "runtime.gpus=1"
OURS = {
    "ours": ("model.quantization=none", ONE),
    "ours-nf4": ("model.quantization=nf4", ONE),
    "ours-x2": ("model.quantization=none", "runtime.gpus=2"),
}
"""Overrides of the recipe; x2: the same training on two GPUs."""
PEERS = ("trl-tuned", "unsloth-bf16", "article", "trl-default", "trl-nf4", "unsloth-nf4")
SYSTEMS = ("ours", *PEERS[:4], "ours-nf4", *PEERS[4:])
LAST = 10
"""Steps whose mean loss is shown."""
ON_CPU = ("ours", "trl-fp32")
WARM = 5
"""Optimizer steps before time is taken, at most half of them."""


def bench_train(
    asked: Asked, systems: str | None, steps: int, peak_tflops: float | None = None, unsloth: Path | None = None,
    quickstart: bool = False,
) -> tuple[list[dict[str, Any]], str]:  # fmt: skip
    """Train `steps` steps by each system. Returns one row a system, the figures of all of them, and a remark."""
    if quickstart:  # real weights, the bundled sample, the CPU
        asked = replace(
            asked, recipe="quickstart", real=True, data=None, overrides=(*asked.overrides, "runtime.device=cpu")
        )
    names = chosen(systems, systems_known(quickstart, bool(systems)))
    with running(asked) as run:
        recipe = load_recipe(run.recipe, run.overrides)
        limit = f"train.limit={steps * recipe.train.batch_size}"
        only = ("train.epochs=1", f"train.max_steps={steps}", "train.evaluations=1", "train.validation_limit=1")
        facts, rows = run.prepare(limit)
        flop = per_token(Shape.of(Path(facts["model"])), recipe.train.lora.rank, facts["labelled"], facts["context"])
        table = []
        for name in names:
            if name in OURS:
                found = _ours(run, name, facts, steps, (limit, *only))
            else:
                found = _peer(run, name, recipe, facts, rows, steps, unsloth, quickstart)
            table.append({"system": name} | found)
        _compare(table, flop, peak_tflops)
        return table, _remark(facts, flop, table)


def systems_known(quickstart: bool, named: bool) -> tuple[str, ...]:
    """Those that can be named, and those that run unasked: two GPUs where there are two."""
    if named:
        return (*SYSTEMS, "ours-x2", "trl-fp32")
    return ON_CPU if quickstart else (*SYSTEMS, *(("ours-x2",) if visible_gpus() > 1 else ()))


def _ours(run: Run, name: str, facts: dict[str, Any], steps: int, overrides: tuple[str, ...]) -> dict[str, Any]:
    found = run.tried(name, "children.our_stages", *overrides, *OURS[name], do="train", warm=min(WARM, steps // 2))
    if "failed" in found:
        return found
    measured = found["measured"]
    # which rows came after the warm-up is the stage's own affair: each counts as the mean of all
    return _figures(found, found["samples"] * facts["tokens"], measured.get("peak_gib"), measured["device"]) | {
        "stage": measured, "gpus": measured["processes"], "last_loss": fmean(found["losses"][-LAST:])
    }  # fmt: skip


def _peer(
    run: Run, name: str, recipe: Recipe, facts: dict[str, Any], rows: Path, steps: int, unsloth: Path | None, cpu: bool
) -> dict[str, Any]:
    site = str(unsloth) if unsloth and name.startswith("unsloth") else None
    if name.startswith("unsloth") and not _has_unsloth(site):
        return {"failed": "unsloth is not installed; --unsloth-site names a folder that has it"}
    lora = recipe.train.lora
    config = {"system": name, "model": facts["model"], "rows": str(rows), "steps": steps, "warm": WARM}
    config |= {"rank": lora.rank, "alpha": lora.alpha, "seed": recipe.train.seed, "only_path": site}
    if cpu:
        config["options"] = {
            "batch": recipe.train.batch_size,
            "steps": steps,
            "learning_rate": recipe.train.learning_rate,
        }
    found = run.tried(name, "children.peer_training", **config)
    return (
        found
        if "failed" in found
        else _figures(found, found["tokens"], found["peak_gib"], found["device"]) | {"gpus": 1}
    )


def _has_unsloth(site: str | None) -> bool:
    return (Path(site) / "unsloth").is_dir() if site else importlib.util.find_spec("unsloth") is not None


def _figures(found: dict[str, Any], tokens: float, peak_gib: float | None, device: str) -> dict[str, Any]:
    seconds = found["seconds"]
    if not seconds:
        return {"failed": "no step after the warm-up: give more --steps"}
    return {
        "samples_per_second": found["samples"] / seconds, "tokens_per_second": tokens / seconds, "timed_seconds": seconds,
        "peak_gib": peak_gib if peak_gib is not None else found["peak_ram_gib"], "device": device,
        "wall_seconds": found["wall_seconds"],
    }  # fmt: skip


def _compare(table: list[dict[str, Any]], flop: float, peak_tflops: float | None) -> None:
    """Put MFU and the ratio of ours to each into the rows."""
    ours = next((row["tokens_per_second"] for row in table if row["system"] in OURS and "failed" not in row), None)
    for row in table:
        if "failed" in row:
            continue
        peak = peak_of(row["device"], peak_tflops)
        row["peak_tflops"] = peak
        row["mfu"] = mfu(row["tokens_per_second"] / row["gpus"], flop, peak) if peak else None
        row["ratio"] = ours / row["tokens_per_second"] if ours else None


def _remark(facts: dict[str, Any], flop: float, table: list[dict[str, Any]]) -> str:
    done = [row for row in table if "failed" not in row]
    peak = (
        f"{done[0]['peak_tflops']:g} TFLOP/s" if done and done[0]["peak_tflops"] else "the GPU's peak (--peak-tflops)"
    )
    return (
        f"{done[0]['device'] if done else 'no system finished'}; {facts['rows']} rows of {facts['tokens']:.0f} tokens, "
        f"{100 * facts['labelled']:.0f} % of them labelled. Real tokens: padding not counted. "
        f"MFU = real tok/s x {flop / 1e9:.3g} GFLOP / {peak}; FLOP a token = 4 x linears + 6 x adapters "
        f"+ 6 x head x labelled share + attention, for every system. Loss: our mean over the last {LAST} steps. "
        f"Ratio: {_first(table)}'s real tok/s to the row's."
    )


def _first(table: list[dict[str, Any]]) -> str:
    return next((row["system"] for row in table if row["system"] in OURS and "failed" not in row), "ours")


def shown(table: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The rows as a person reads them."""

    def number(row: dict[str, Any], key: str, form: str, scale: float = 1) -> str:
        return "-" if row.get(key) is None else format(scale * row[key], form)

    return [
        {
            "system": row["system"],
            "samples/s": number(row, "samples_per_second", ",.1f"),
            "real tok/s": number(row, "tokens_per_second", ",.0f"),
            "MFU %": number(row, "mfu", ".1f", 100),
            "peak GiB": number(row, "peak_gib", ".1f"),
            "loss": number(row, "last_loss", ".4f"),
            "ours is x": number(row, "ratio", ".2f"),
            "note": row["failed"]
            if "failed" in row
            else f"{row['timed_seconds']:.1f} s timed, {row['wall_seconds']:.0f} s in all",
        }
        for row in table
    ]

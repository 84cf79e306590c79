"""bench train: our train stage compared with other systems on the same rows, one after another."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from flows.benchmarks.environment import BenchmarkRun, BenchmarkSettings, benchmark_run, select_systems
from flows.benchmarks.flops import Shape, flop_per_token, mfu, peak_tflops
from flows.recipe import Recipe, load_recipe
from tasks.workers.gpus import visible_gpus

ONE_GPU = "runtime.gpus=1"
OURS = {
    "ours": ("model.quantization=none", ONE_GPU),
    "ours-nf4": ("model.quantization=nf4", ONE_GPU),
    "ours-trl": ("model.quantization=none", "train.engine=trl", ONE_GPU),
    "ours-trl-nf4": ("model.quantization=nf4", "train.engine=trl", ONE_GPU),
    "ours-x2": ("model.quantization=none", "runtime.gpus=2"),
}
"""System -> its overrides of the recipe. ours-trl: the stage's other engine; ours-x2: the same on two GPUs."""
PEERS = ("trl-tuned", "unsloth-bf16", "article", "trl-default", "trl-nf4", "unsloth-nf4")
SYSTEMS = ("ours", *PEERS[:4], "ours-nf4", *PEERS[4:])
LAST_STEPS = 10
"""Steps at the end whose mean loss is shown."""
CPU_SYSTEMS = ("ours", "trl-fp32")
WARM_UP = 5
"""Optimizer steps before the timing starts; at most half of the steps."""
Row = dict[str, Any]


def bench_train(
    settings: BenchmarkSettings,
    systems: str | None,
    steps: int,
    peak: float | None = None,
    unsloth: Path | None = None,
    quickstart: bool = False,
) -> tuple[list[Row], str]:
    """Train `steps` steps with each system. Returns a row of figures for each, and a remark.

    Args:
        settings: what the benchmark runs on.
        systems: names joined by commas; None: all that can run here.
        steps: optimizer steps.
        peak: of the GPU in TFLOP/s; None: as measured, if it was.
        unsloth: folder with the packages of Unsloth.
        quickstart: train the recipe quickstart on the CPU.
    """
    if quickstart:  # real weights, the bundled sample, the CPU
        overrides = (*settings.overrides, "runtime.device=cpu")
        settings = replace(settings, recipe="quickstart", real=True, data=None, overrides=overrides)
    names = select_systems(systems, known_systems(quickstart, bool(systems)))
    with benchmark_run(settings) as run:
        recipe = load_recipe(run.recipe, run.overrides)
        limit = f"train.limit={steps * recipe.train.batch_size}"
        only = ("train.epochs=1", f"train.max_steps={steps}", "train.evaluations=1", "train.validation_limit=1")
        facts, rows = run.prepare(limit)
        shape = Shape.from_folder(Path(facts["model"]))
        flop = flop_per_token(shape, recipe.train.lora.rank, facts["labelled"], facts["context"])
        table: list[Row] = []
        for name in names:
            if name in OURS:
                row = _run_ours(run, name, facts, steps, (limit, *only))
            else:
                row = _run_peer(run, name, recipe, facts, rows, steps, unsloth, quickstart)
            table.append({"system": name} | row)
        _add_ratios(table, flop, peak)
        return table, _remark(facts, flop, table)


def known_systems(quickstart: bool, named: bool) -> tuple[str, ...]:
    """Systems that --systems may name (`named`), or that run without it: two GPUs take part where there are two."""
    if named:
        return (*SYSTEMS, "ours-trl", "ours-trl-nf4", "ours-x2", "trl-fp32")
    return CPU_SYSTEMS if quickstart else (*SYSTEMS, *(("ours-x2",) if visible_gpus() > 1 else ()))


def _run_ours(run: BenchmarkRun, name: str, facts: dict[str, Any], steps: int, overrides: tuple[str, ...]) -> Row:
    warm = min(WARM_UP, steps // 2)
    result = run.run_system(name, "children.our_stages", *overrides, *OURS[name], do="train", warm=warm)
    if "failed" in result:
        return result
    measured = result["measured"]
    # the stage does not report which rows followed the warm-up: each counts as a row of mean length
    row = _figures(result, result["samples"] * facts["tokens"], measured.get("peak_gib"), measured["device"])
    loss = fmean(result["losses"][-LAST_STEPS:])
    return row | {"stage": measured, "gpus": measured["processes"], "last_loss": loss}


def _run_peer(
    run: BenchmarkRun,
    name: str,
    recipe: Recipe,
    facts: dict[str, Any],
    rows: Path,
    steps: int,
    unsloth: Path | None,
    cpu: bool,
) -> Row:
    site = str(unsloth) if unsloth and name.startswith("unsloth") else None
    if name.startswith("unsloth") and not _has_unsloth(site):
        return {"failed": "unsloth is not installed; --unsloth-site names a folder that has it"}
    train = recipe.train
    config = {"system": name, "model": facts["model"], "rows": str(rows), "steps": steps, "warm": WARM_UP}
    config |= {"rank": train.lora.rank, "alpha": train.lora.alpha, "seed": train.seed, "only_path": site}
    if cpu:
        config["options"] = {"batch": train.batch_size, "steps": steps, "learning_rate": train.learning_rate}
    result = run.run_system(name, "children.peer_training", **config)
    if "failed" in result:
        return result
    return _figures(result, result["tokens"], result["peak_gib"], result["device"]) | {"gpus": 1}


def _has_unsloth(site: str | None) -> bool:
    return (Path(site) / "unsloth").is_dir() if site else importlib.util.find_spec("unsloth") is not None


def _figures(result: dict[str, Any], tokens: float, peak_gib: float | None, device: str) -> Row:
    seconds = result["seconds"]
    if not seconds:
        return {"failed": "no step after the warm-up: increase --steps"}
    return {
        "samples_per_second": result["samples"] / seconds,
        "tokens_per_second": tokens / seconds,
        "timed_seconds": seconds,
        "peak_gib": peak_gib if peak_gib is not None else result["peak_ram_gib"],
        "device": device,
        "wall_seconds": result["wall_seconds"],
    }


def _add_ratios(table: list[Row], flop: float, peak_override: float | None) -> None:
    """Add to each row its MFU, and the speed of ours divided by its speed."""
    ours = next((row["tokens_per_second"] for row in table if row["system"] in OURS and "failed" not in row), None)
    for row in table:
        if "failed" in row:
            continue
        peak = peak_tflops(row["device"], peak_override)
        row["peak_tflops"] = peak
        row["mfu"] = mfu(row["tokens_per_second"] / row["gpus"], flop, peak) if peak else None
        row["ratio"] = ours / row["tokens_per_second"] if ours else None


def _remark(facts: dict[str, Any], flop: float, table: list[Row]) -> str:
    finished = [row for row in table if "failed" not in row]
    peak = "the GPU's peak (--peak-tflops)"
    if finished and finished[0]["peak_tflops"]:
        peak = f"{finished[0]['peak_tflops']:g} TFLOP/s"
    ours = next((row["system"] for row in finished if row["system"] in OURS), "ours")
    return (
        f"{finished[0]['device'] if finished else 'no system finished'}; {facts['rows']} rows, {facts['tokens']:.0f} "
        f"tokens on average, {100 * facts['labelled']:.0f} % of them labelled. Real tokens: without padding. "
        f"MFU = real tok/s x {flop / 1e9:.3g} GFLOP / {peak}; FLOP per token = 4 x linears + 6 x adapters "
        "+ 6 x head x labelled fraction + attention, for every system. "
        f"Loss: our mean over the last {LAST_STEPS} steps. "
        f"Ratio: real tok/s of {ours} divided by those of the row."
    )


def in_columns(table: list[Row]) -> list[dict[str, str]]:
    """The rows with the columns that are printed."""

    def number(row: Row, key: str, form: str, scale: float = 1) -> str:
        return "-" if row.get(key) is None else format(scale * row[key], form)

    def note(row: Row) -> str:
        return row.get("failed") or f"{row['timed_seconds']:.1f} s timed, {row['wall_seconds']:.0f} s in total"

    return [
        {
            "system": row["system"],
            "samples/s": number(row, "samples_per_second", ",.1f"),
            "real tok/s": number(row, "tokens_per_second", ",.0f"),
            "MFU %": number(row, "mfu", ".1f", 100),
            "peak GiB": number(row, "peak_gib", ".1f"),
            "loss": number(row, "last_loss", ".4f"),
            "ratio": number(row, "ratio", ".2f"),
            "note": note(row),
        }
        for row in table
    ]

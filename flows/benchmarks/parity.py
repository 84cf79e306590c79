"""bench parity: whether two trainings learn the same, by the loss of every step.

Our stage is compared with plain TRL, or its engines (train.engine) are compared with each other. Plain TRL takes the
rows one after another in the order of our stage's schedule, so that each step of both uses the same rows. Every step
has new rows: on rows seen often, the loss would come near zero, and a difference in percent would mean nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from artifacts.errors import RequestError
from flows.benchmarks.environment import BenchmarkRun, BenchmarkSettings, benchmark_run, select_systems
from flows.recipe import load_recipe
from tasks.config import TrainConfig
from tasks.training.schedule import StepSchedule

ENGINES = ("packed", "trl")
LAST_STEPS = 20
"""Steps at the end whose mean losses are compared."""


def bench_parity(
    settings: BenchmarkSettings, steps: int, micro_batch: int = 8, engines: str | None = None
) -> tuple[list[dict[str, Any]], str]:
    """Train `steps` steps twice on the same rows. Returns rows with both curves, and a remark.

    Args:
        settings: what the benchmark runs on.
        steps: optimizer steps of each training.
        micro_batch: the most rows that plain TRL puts through the model together.
        engines: two engines of our stage, joined by a comma; None: our stage and plain TRL with fp32 adapters.
    """
    names = select_systems(engines, ENGINES, option="--engines") if engines else ["ours", "TRL"]
    if len(names) != 2:
        raise RequestError(f"--engines {engines}: give two, for example packed,trl")
    settings = replace(settings, overrides=(*settings.overrides, "model.quantization=none"))
    with benchmark_run(settings) as run:
        train = load_recipe(run.recipe, run.overrides).train
        only = (
            f"train.max_steps={steps}",
            "train.evaluations=1",
            "train.validation_limit=1",
            f"train.limit={steps * train.batch_size}",
        )
        if engines:
            results = [_our_stage(run, name, *only, f"train.engine={name}") for name in names]
        else:
            results = [_our_stage(run, "ours", *only), _plain_trl(run, train, steps, micro_batch, only[-1])]
    for name, result in zip(names, results, strict=True):
        if "failed" in result:
            raise RequestError(f"no parity: {name} failed: {result['failed']}")
    return compare_curves(results[0]["losses"], results[1]["losses"], names)


def _our_stage(run: BenchmarkRun, name: str, *overrides: str) -> dict[str, Any]:
    return run.run_system(name, "children.our_stages", *overrides, do="train", warm=1)


def _plain_trl(run: BenchmarkRun, train: TrainConfig, steps: int, micro_batch: int, limit: str) -> dict[str, Any]:
    facts, rows = run.prepare(limit)
    _sort_rows(rows, StepSchedule(facts["rows"], train), steps)
    config = {"system": "parity", "model": facts["model"], "rows": str(rows), "steps": steps, "warm": 1}
    config |= {"rank": train.lora.rank, "alpha": train.lora.alpha, "seed": train.seed}
    return run.run_system("TRL", "children.peer_training", **config, options=_trl_options(train, steps, micro_batch))


def _trl_options(train: TrainConfig, steps: int, micro_batch: int) -> dict[str, Any]:
    """Options of TRL's trainer that make it do what our stage does."""
    micro = next(size for size in range(min(micro_batch, train.batch_size), 0, -1) if train.batch_size % size == 0)
    return {
        "batch": micro,
        "accumulate": train.batch_size // micro,
        "steps": steps,
        "learning_rate": train.learning_rate,
        "lr_scheduler_type": train.schedule,
        "warmup_steps": -int(-steps * train.warmup // 1),
        "logging_steps": 1,
        "train_sampling_strategy": "sequential",
        "weight_decay": train.weight_decay,
        "max_grad_norm": train.max_gradient_norm,
        "optim": "adamw_torch",
    }


def _sort_rows(file: Path, plan: StepSchedule, steps: int) -> None:
    """Put the training rows of the file into the order in which the steps take them."""
    rows = json.loads(file.read_text())
    rows["train"] = [rows["train"][i] for step in range(steps) for i in plan.rows(step)]
    file.write_text(json.dumps(rows))


def compare_curves(
    first: list[float], second: list[float], names: Sequence[str] = ("ours", "TRL")
) -> tuple[list[dict[str, Any]], str]:
    """A row for every tenth of the steps, and a remark about the largest difference and the end."""
    steps = min(len(first), len(second))
    tenth = max(1, steps // 10)
    differences = [100 * abs(a - b) / max(abs(b), 1e-9) for a, b in zip(first, second, strict=False)]
    rows = []
    for start in range(0, steps, tenth):
        part = slice(start, start + tenth)
        row: dict[str, Any] = {"steps": f"{start + 1}-{min(steps, start + tenth)}"}
        row |= {names[0]: round(fmean(first[part]), 4), names[1]: round(fmean(second[part]), 4)}
        rows.append(row | {"largest difference %": round(max(differences[part]), 3)})
    last = min(LAST_STEPS, steps)
    a, b = fmean(first[steps - last : steps]), fmean(second[steps - last : steps])
    largest = max(range(steps), key=lambda step: differences[step])
    remark = (
        f"{steps} steps over the same rows; largest difference {differences[largest]:.3g} %, in step {largest + 1}; "
        f"last {last}: {names[0]} {a:.4f}, {names[1]} {b:.4f}, difference {100 * abs(a - b) / max(abs(b), 1e-9):.2f} %"
    )
    return rows, remark

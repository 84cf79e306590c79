"""bench parity: whether our training learns what plain TRL learns, by the loss of every step.

TRL takes the rows one after another in the order of our stage's schedule, so that each step of both uses the same
rows. Every step has new rows: on rows seen often, the loss would come near zero, and a difference in percent would mean
nothing.
"""

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from artifacts.errors import RequestError
from flows.benchmarks.environment import BenchmarkSettings, benchmark_run
from flows.recipe import load_recipe
from tasks.config import TrainConfig
from tasks.training.schedule import StepSchedule

LAST_STEPS = 20
"""Steps at the end whose mean losses are compared."""


def bench_parity(settings: BenchmarkSettings, steps: int, micro_batch: int = 8) -> tuple[list[dict[str, Any]], str]:
    """Train `steps` steps with our stage and with TRL with fp32 adapters. Returns rows with both curves, and a remark.

    micro_batch: the most rows that TRL puts through the model together.
    """
    settings = replace(settings, overrides=(*settings.overrides, "model.quantization=none"))
    with benchmark_run(settings) as run:
        train = load_recipe(run.recipe, run.overrides).train
        only = (f"train.max_steps={steps}", "train.evaluations=1", "train.validation_limit=1")
        limit = f"train.limit={steps * train.batch_size}"
        facts, rows = run.prepare(limit)
        ours = run.run_system("ours", "children.our_stages", limit, *only, do="train", warm=1)
        _sort_rows(rows, StepSchedule(facts["rows"], train), steps)
        config = {"system": "parity", "model": facts["model"], "rows": str(rows), "steps": steps, "warm": 1}
        config |= {"rank": train.lora.rank, "alpha": train.lora.alpha, "seed": train.seed}
        options = _trl_options(train, steps, micro_batch)
        peer = run.run_system("parity", "children.peer_training", **config, options=options)
    for name, result in (("our stage", ours), ("TRL", peer)):
        if "failed" in result:
            raise RequestError(f"no parity: {name} failed: {result['failed']}")
    return compare_curves(ours["losses"], peer["losses"])


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


def compare_curves(ours: list[float], theirs: list[float]) -> tuple[list[dict[str, Any]], str]:
    """A row for every tenth of the steps, and a remark about the end."""
    steps = min(len(ours), len(theirs))
    tenth = max(1, steps // 10)
    differences = [100 * abs(a - b) / max(abs(b), 1e-9) for a, b in zip(ours, theirs, strict=False)]
    rows = []
    for start in range(0, steps, tenth):
        part = slice(start, start + tenth)
        row: dict[str, Any] = {"steps": f"{start + 1}-{min(steps, start + tenth)}"}
        row |= {"ours": round(fmean(ours[part]), 4), "TRL": round(fmean(theirs[part]), 4)}
        rows.append(row | {"largest difference %": round(max(differences[part]), 3)})
    last = min(LAST_STEPS, steps)
    a, b = fmean(ours[steps - last : steps]), fmean(theirs[steps - last : steps])
    difference = 100 * abs(a - b) / max(abs(b), 1e-9)
    remark = f"{steps} steps over the same rows; last {last}: ours {a:.4f}, TRL {b:.4f}, difference {difference:.2f} %"
    return rows, remark

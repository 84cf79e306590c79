"""bench parity: does our training learn what plain TRL learns? The loss of every step, side by side.

TRL takes the rows one after another, in the order in which our stage's plan takes them: each step of both is over the
same rows. New rows in each step: a loss that rows seen often would bring near zero says nothing in percent.
"""

import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from artifacts.errors import RequestError
from flows.benchmarks.environment import Asked, running
from flows.recipe import load_recipe
from tasks.training.schedule import Plan

END = 20
"""Last steps whose mean is compared."""


def bench_parity(asked: Asked, steps: int, at_once: int = 8) -> tuple[list[dict[str, Any]], str]:
    """Train `steps` steps by our stage and by TRL with fp32 adapters; returns the curves and how far apart they are.

    at_once: rows of a batch that TRL takes through the model together.
    """
    asked = replace(asked, overrides=(*asked.overrides, "model.quantization=none"))
    with running(asked) as run:
        train = load_recipe(run.recipe, run.overrides).train
        only = (f"train.max_steps={steps}", "train.evaluations=1", "train.validation_limit=1")
        limit = steps * train.batch_size
        facts, rows = run.prepare(f"train.limit={limit}")
        ours = run.tried("ours", "children.our_stages", f"train.limit={limit}", *only, do="train", warm=1)
        _lay_in_order(rows, Plan(facts["rows"], train), steps)
        micro = next(size for size in range(min(at_once, train.batch_size), 0, -1) if train.batch_size % size == 0)
        options = {
            "batch": micro, "accumulate": train.batch_size // micro, "steps": steps, "learning_rate": train.learning_rate,
            "lr_scheduler_type": train.schedule, "warmup_steps": -int(-steps * train.warmup // 1), "logging_steps": 1,
            "train_sampling_strategy": "sequential", "weight_decay": train.weight_decay, "max_grad_norm": train.max_gradient_norm, "optim": "adamw_torch",
        }  # fmt: skip
        peer = run.tried(
            "parity", "children.peer_training", system="parity", model=facts["model"], rows=str(rows), steps=steps, warm=1,
            rank=train.lora.rank, alpha=train.lora.alpha, seed=train.seed, options=options,
        )  # fmt: skip
    for name, found in (("our stage", ours), ("TRL", peer)):
        if "failed" in found:
            raise RequestError(f"no parity: {name} failed: {found['failed']}")
    return compared(ours["losses"], peer["losses"])


def _lay_in_order(file: Path, plan: Plan, steps: int) -> None:
    """The training rows of the file as the steps take them."""
    found = json.loads(file.read_text())
    found["train"] = [found["train"][i] for step in range(steps) for i in plan.rows(step)]
    file.write_text(json.dumps(found))


def compared(ours: list[float], theirs: list[float]) -> tuple[list[dict[str, Any]], str]:
    """A row for every tenth of the curve and one for its end."""
    steps = min(len(ours), len(theirs))
    tenth = max(1, steps // 10)
    apart = [abs(a - b) / max(abs(b), 1e-9) for a, b in zip(ours, theirs, strict=False)]
    rows = [
        {"steps": f"{start + 1}-{min(steps, start + tenth)}", "ours": round(fmean(ours[start : start + tenth]), 4),
         "TRL": round(fmean(theirs[start : start + tenth]), 4), "most apart %": round(100 * max(apart[start : start + tenth]), 3)}
        for start in range(0, steps, tenth)
    ]  # fmt: skip
    end = min(END, steps)
    a, b = fmean(ours[steps - end : steps]), fmean(theirs[steps - end : steps])
    far = 100 * abs(a - b) / max(abs(b), 1e-9)
    return rows, f"{steps} steps over the same rows; last {end}: ours {a:.4f}, TRL {b:.4f}, {far:.2f} % apart"

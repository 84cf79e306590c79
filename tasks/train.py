"""train: formatted rows and a base model -> a LoRA adapter.

Reads   rows (format, train)
Writes  adapter_model.safetensors and adapter_config.json (fp32, for plain peft), curve.parquet (artifacts.schemas.CURVE),
        settings.json, checks.json
Rerun   dialogsum run RECIPE --refresh train

The work is done by tasks/training/worker.py in a process of its own; with several GPUs accelerate starts one for each.
"""

from typing import Any

from tasks.config import Runtime, TrainSpec
from tasks.execution.stage import Artifact, Context, Done, Stage
from tasks.training.preflight import Check
from tasks.workers.gpus import visible_gpus
from tasks.workers.launcher import run_worker


def train(spec: TrainSpec, context: Context, rows: Artifact) -> Done:
    """Train an adapter. StageError if a check fails, the loss is not finite or the process dies."""
    result = run_trainer(spec, context, rows, check_only=False)
    facts = result["facts"] | {"template": rows.manifest.identity["config"]["template"]}
    return Done(rows=result["rows"], facts=facts, measured=result["measured"])


def check(spec: TrainSpec, context: Context, rows: Artifact) -> list[Check]:
    """What the trainer finds before it loads the weights. Failed checks are returned, not raised."""
    return [Check(**found) for found in run_trainer(spec, context, rows, check_only=True)["checks"]]


def run_trainer(spec: TrainSpec, context: Context, rows: Artifact, check_only: bool) -> dict[str, Any]:
    """Start the worker; with `check_only` it stops before the weights are loaded and reports its checks."""
    config = {
        "spec": spec.model_dump(mode="json"),
        "runtime": context.runtime.model_dump(mode="json"),
        "rows": str(rows.payload),
        "expected": rows.manifest.facts,
        "out": str(context.out),
        "work": str(context.work),
        "check_only": check_only,
    }
    processes = 1 if check_only else _processes(context.runtime, spec.train.batch_size)
    command = ["-m", "tasks.training.worker"]
    if processes > 1:
        launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
        command = [*launch, "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", *command]
    return run_worker(command, config, context.work, context.events)


def _processes(runtime: Runtime, rows: int) -> int:
    """One a GPU, as many as asked for or visible, and no more than a step has rows."""
    if runtime.device == "cpu":
        return 1
    return max(1, min(visible_gpus() if runtime.gpus is None else runtime.gpus, rows))


def _label(spec: TrainSpec) -> str:
    steps = f"{spec.train.max_steps} steps" if spec.train.max_steps else f"{spec.train.epochs:g} epochs"
    return f"{spec.model.name} r{spec.train.lora.rank} {steps}"


TRAIN = Stage(
    name="train", version=1, function=train, spec=TrainSpec, label=_label, pool="gpu", worker="tasks.training.worker",
    check=check,
)  # fmt: skip

"""train: formatted rows and a base model -> a LoRA adapter.

Reads   rows (format, train)
Writes  adapter_model.safetensors and adapter_config.json (fp32, for plain peft), curve.parquet (artifacts.schemas.CURVE),
        settings.json, checks.json
Rerun   dialogsum run RECIPE --refresh train

The work is done by tasks/lora_worker.py in a process of its own, started by accelerate.
"""

from typing import Any

from tasks.config import TrainSpec
from tasks.launch import run_worker
from tasks.stage import Artifact, Context, Done, Stage


def train(spec: TrainSpec, context: Context, rows: Artifact) -> Done:
    """Train an adapter. StageError if a check fails, the loss is not finite or the process dies."""
    result = run_trainer(spec, context, rows, check_only=False)
    facts = result["facts"] | {"template": rows.manifest.identity["config"]["template"]}
    return Done(rows=result["rows"], facts=facts, measured=result["measured"])


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
    processes = 1 if check_only else max(1, context.runtime.gpus or 1)
    command = ["-m", "accelerate.commands.launch", "--num_processes", str(processes), "--num_machines", "1"]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--multi_gpu"] if processes > 1 else []
    command += ["--cpu"] if context.runtime.device == "cpu" else []
    return run_worker([*command, "-m", "tasks.lora_worker"], config, context.work, context.events)


def _label(spec: TrainSpec) -> str:
    steps = f"{spec.train.max_steps} steps" if spec.train.max_steps else f"{spec.train.epochs:g} epochs"
    return f"{spec.model.name} r{spec.train.lora.rank} {steps}"


TRAIN = Stage(
    name="train", version=1, function=train, spec=TrainSpec, label=_label, pool="gpu", worker="tasks.lora_worker",
)  # fmt: skip

"""train: formatted rows and a base model -> a LoRA adapter.

Reads   rows (format, train); for preference training an adapter to start from (train) and candidates (sample)
Writes  adapter_model.safetensors and adapter_config.json (fp32, for plain peft),
        curve.parquet (artifacts.schemas.CURVE), settings.json, checks.json
Rerun   dialogsum run RECIPE --refresh train

The work is done by tasks/training/worker.py in a process of its own; with several GPUs accelerate starts one for each.
"""

from collections.abc import Mapping

from artifacts.check import Check
from tasks.config import FormatSpec, Runtime, TrainSpec
from tasks.execution.stage import Artifact, Context, Stage, StageResult
from tasks.training.worker_records import TrainingResult, TrainingWorkerConfig
from tasks.workers.gpus import process_count
from tasks.workers.launcher import run_workers

WORKER = "tasks.training.worker"


def train(
    spec: TrainSpec, context: Context, rows: Artifact, adapter: Artifact | None = None, **candidates: Artifact
) -> StageResult:
    """Train an adapter. StageError if a check fails, the loss is not finite, or the process dies.

    adapter, candidates: of a preference training, where it starts and what it chooses the pairs from.
    """
    result = run_trainer(spec, context, rows, adapter, candidates, check_only=False)
    assert result.measured is not None
    facts = {
        "checks": [check.as_dict() for check in result.checks],
        "steps": result.steps,
        "train_rows": result.rows,
        "template": FormatSpec.model_validate(rows.manifest.identity["config"]).template,
    }
    if result.preference:
        facts["preference"] = result.preference
    return StageResult(rows=result.rows, facts=facts, measured=result.measured.as_dict())


def check(
    spec: TrainSpec, context: Context, rows: Artifact, adapter: Artifact | None = None, **candidates: Artifact
) -> list[Check]:
    """The checks that the trainer makes before it loads the weights. Failed checks are returned, not raised."""
    return run_trainer(spec, context, rows, adapter, candidates, check_only=True).checks


def run_trainer(
    spec: TrainSpec,
    context: Context,
    rows: Artifact,
    adapter: Artifact | None = None,
    candidates: Mapping[str, Artifact] | None = None,
    *,
    check_only: bool,
) -> TrainingResult:
    """Start the worker; with `check_only` it stops before the weights are loaded and reports its checks."""
    start, candidates = {"adapter": adapter} if adapter else {}, candidates or {}
    config = TrainingWorkerConfig(
        spec=spec,
        runtime=context.runtime,
        rows=rows.payload,
        expected_rows=rows.manifest.facts["rows"],
        in_train_and_test=rows.manifest.facts["in_train_and_test"],
        out=context.out,
        work=context.work,
        start=adapter.payload if adapter else None,
        candidates=tuple(candidates[role].payload for role in sorted(candidates)),
        distilled_from={role: artifact.manifest.digest for role, artifact in {**start, **candidates}.items()},
        check_only=check_only,
    )
    processes = 1 if check_only else _processes(context.runtime, spec.step_settings.batch_size)
    launch = _accelerate(processes) if processes > 1 else []
    return run_workers(WORKER, [config], TrainingResult, context.work, context.events, launch=launch)[0]


def _processes(runtime: Runtime, batch_size: int) -> int:
    """One process per GPU, at most as many as an optimizer step has rows. RequestError as `process_count`."""
    return 1 if runtime.device == "cpu" else min(process_count(runtime.device, runtime.gpus), batch_size)


def _accelerate(processes: int) -> list[str]:
    """Arguments of Python that start a module once per GPU."""
    launch = f"-m accelerate.commands.launch --multi_gpu --num_processes {processes} --num_machines 1"
    return [*launch.split(), "--mixed_precision", "no", "--dynamo_backend", "no"]


def _label(spec: TrainSpec) -> str:
    settings = spec.step_settings
    distilled = f"{'best samples' if spec.preference.loss == 'sft' else 'dpo'} " if spec.preference else ""
    steps = f"{settings.max_steps} steps" if settings.max_steps else f"{settings.epochs:g} epochs"
    return f"{spec.model.name} r{spec.train.lora.rank} {distilled}{steps}"


TRAIN = Stage(
    name="train", version=1, function=train, spec=TrainSpec, label=_label, pool="gpu", worker=WORKER, check=check
)

"""The trainer process: checks, then the loop of tasks/training, then the payload.

    python -m tasks.training.worker CONFIG.json                    (CONFIG.json is written by tasks/train.py)
    accelerate launch --multi_gpu --num_processes N -m tasks.training.worker CONFIG.json

Rows come encoded and labelled by tasks/models/chat_template.py, the same code that encodes prompts for generation.
"""

import json
from pathlib import Path
from typing import Any

import psutil
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from artifacts.cache_key import identity_of, sha256
from artifacts.check import Check, refuse_failed
from artifacts.code_fingerprint import fingerprint
from artifacts.schemas import CURVE, FORMATTED_TRAIN, read_table, write_table
from tasks.config import TrainSpec
from tasks.models.chat_template import TurnEncoder
from tasks.models.loading import load_tokenizer, model_folder
from tasks.training import builder, throughput
from tasks.training.loop import Loop
from tasks.training.memory import ON_CPU, budget
from tasks.training.packing import IGNORED, Rows
from tasks.training.preflight import leakage_check, memory_check, training_checks
from tasks.training.process_group import Group
from tasks.training.worker_records import TrainingResult, TrainingWorkerConfig
from tasks.workers.cpus import cpu_threads
from tasks.workers.events import Events, NullListener
from tasks.workers.worker_main import worker_main


def run(config: TrainingWorkerConfig, events: Events) -> TrainingResult:
    """Check, train, save."""
    clock = throughput.Clock()
    group = Group.join(config.runtime.device)
    if group.device.type == "cpu":
        torch.set_num_threads(cpu_threads(config.runtime.threads, group.size))
    try:
        return _train(config, group, events if group.rank == 0 else NullListener(), clock)
    finally:
        group.leave()


def _train(config: TrainingWorkerConfig, group: Group, events: Events, clock: throughput.Clock) -> TrainingResult:
    spec, runtime, settings = config.spec, config.runtime, config.spec.train
    encoder = TurnEncoder(load_tokenizer(spec.model), spec.turns)
    rows = read_table(config.rows / "train.parquet", FORMATTED_TRAIN)[:: settings.stride][: settings.limit]
    expected_rows = len(range(0, config.expected_rows, settings.stride)[: settings.limit])
    data, checks = prepare(spec, encoder, rows, expected_rows)
    held_out = read_table(config.rows / "validation.parquet", FORMATTED_TRAIN)[: settings.validation_limit]
    validation, _ = prepare(spec, encoder, held_out, len(held_out))
    checks.append(leakage_check(config.in_train_and_test))
    memory = _memory(spec, data, runtime.train_batch_size, group.device)
    for check in (*checks, memory):
        events.log(str(check))
    if config.check_only:
        return TrainingResult(checks=[*checks, memory])
    refuse_failed(checks)

    events.progress(0, 0, "loading the model")
    dtype, why = builder.product_dtype(group.device)
    peft_model = builder.load_peft_model(spec, group.device, dtype)
    model, reason = builder.trainable(peft_model, dtype, settings.label_smoothing)
    engine = f"transformers ({reason})" if reason else "packed rows"
    events.log(f"products in {str(dtype).removeprefix('torch.')}: {why}; trained by {engine}")
    tokens = budget(group.device, peft_model.config, dtype.itemsize, bool(reason))
    loop = Loop(
        model, settings, data, validation, group, events, tokens if runtime.train_batch_size is None else 1 << 40,
        runtime.train_batch_size, config.work / "checkpoints", _identity(spec, data, validation),
    )  # fmt: skip
    loop.checkpoint_seconds = config.checkpoint_seconds
    clock.loaded()
    loop.run()
    if group.rank == 0:
        save(peft_model, spec, loop, checks, config.out)
    return TrainingResult(
        checks=checks,  # without the memory check, which depends on what else runs now
        rows=len(data.rows),
        steps=loop.plan.steps,
        measured=clock.measured(loop, group, engine, memory.detail),
    )


def _identity(spec: TrainSpec, data: Rows, validation: Rows) -> str:
    """Whose checkpoints may be gone on from: same settings, same tokens, same code."""
    tokens = [[list(map(list, row)) for row in rows.rows] for rows in (data, validation)]
    return sha256({"spec": identity_of(spec), "tokens": tokens, "code": fingerprint("tasks.training.worker")})


def prepare(
    spec: TrainSpec, encoder: TurnEncoder, rows: list[dict[str, Any]], expected: int
) -> tuple[Rows, list[Check]]:
    """Formatted rows -> token ids and labels (-100 where no loss is taken), and the checks over them."""
    settings = spec.train
    encoded, cut, lost = encoder.rows(
        [row["prompt"] for row in rows], [row["completion"] for row in rows], settings.max_length, settings.stop_token
    )
    masked = settings.loss_on == "completion"
    labels = [[IGNORED] * length + ids[length:] if masked else list(ids) for ids, length in encoded]
    checks = training_checks(spec, encoder, rows, encoded, labels, expected, cut, lost)
    ready = [(ids, label) for (ids, _), label in zip(encoded, labels, strict=True)]
    return Rows(ready, [row["id"] for row in rows]), checks


def _memory(spec: TrainSpec, data: Rows, most_rows: int | None, device: torch.device) -> Check:
    shape = AutoConfig.from_pretrained(model_folder(spec.model), trust_remote_code=False)
    with torch.device("meta"):  # shapes without weights
        empty = AutoModelForCausalLM.from_config(shape)
        parameters = sum(p.numel() for p in empty.parameters())
    longest = max(data.lengths, default=0)
    tokens = longest * most_rows if most_rows else max(longest, ON_CPU)
    if device.type == "cuda":
        free, where = torch.cuda.mem_get_info()[0], "GPU"
    else:
        free, where = psutil.virtual_memory().available, "CPU"
    return memory_check(parameters, shape.num_hidden_layers, shape.hidden_size, tokens, spec, free, where)


def save(model: Any, spec: TrainSpec, loop: Loop, checks: list[Check], out: Path) -> None:
    """Write the payload. The same training gives the same bytes: no path, no time, no order of a set."""
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    described = json.loads((out / "adapter_config.json").read_text())
    described |= {"base_model_name_or_path": spec.model.origin, "target_modules": sorted(spec.train.lora.targets)}
    described["revision"] = spec.model.revision if len(spec.model.revision) == 40 else None
    write = {
        "adapter_config.json": described,
        "settings.json": identity_of(spec) | {"model_origin": spec.model.origin, "steps": loop.plan.steps},
        "checks.json": [check.as_payload() for check in checks],
    }
    for name, content in write.items():
        (out / name).write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    write_table(loop.progress.curve, CURVE, out / "curve.parquet")


def main() -> None:
    """Run as a worker process."""
    worker_main(run, TrainingWorkerConfig)


if __name__ == "__main__":
    main()

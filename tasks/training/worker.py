"""The trainer process: checks, then the training loop, then the payload.

    python -m tasks.training.worker CONFIG.json                    (tasks/train.py writes CONFIG.json)
    accelerate launch --multi_gpu --num_processes N -m tasks.training.worker CONFIG.json

Rows are encoded by tasks/models/chat_template.py, the code that also encodes prompts for generation.
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
from tasks.training import builder
from tasks.training.loop import Loop
from tasks.training.memory import CPU_TOKENS, token_budget
from tasks.training.packing import IGNORED, LabelledRows
from tasks.training.preflight import Preflight, leakage_check, memory_check
from tasks.training.process_group import ProcessGroup
from tasks.training.throughput import ThroughputMeter
from tasks.training.worker_records import TrainingResult, TrainingWorkerConfig
from tasks.workers.cpus import cpu_threads
from tasks.workers.events import Events, NullListener
from tasks.workers.worker_main import worker_main

UNLIMITED_TOKENS = 1 << 40
"""Token budget where runtime.train_batch_size bounds the micro-batches by rows."""


def run(config: TrainingWorkerConfig, events: Events) -> TrainingResult:
    """Check, train, save."""
    meter = ThroughputMeter()
    group = ProcessGroup.init(config.runtime.device)
    if group.device.type == "cpu":
        torch.set_num_threads(cpu_threads(config.runtime.threads, group.size))
    try:
        return _run(config, group, events if group.rank == 0 else NullListener(), meter)
    finally:
        group.destroy()


def _run(config: TrainingWorkerConfig, group: ProcessGroup, events: Events, meter: ThroughputMeter) -> TrainingResult:
    train, validation, checks = load_rows(config)
    memory = _memory_check(config.spec, train, config.runtime.train_batch_size, group.device)
    for check in (*checks, memory):
        events.log(str(check))
    if config.check_only:
        return TrainingResult(checks=[*checks, memory])
    refuse_failed(checks)
    peft_model, loop, engine = _build_loop(config, train, validation, group, events)
    meter.model_loaded()
    loop.run()
    if group.rank == 0:
        save_payload(peft_model, config.spec, loop, checks, config.out)
    return TrainingResult(
        checks=checks,  # without the memory check, which depends on what else runs now
        rows=len(train.rows),
        steps=loop.schedule.steps,
        measured=meter.measurements(loop, group, engine, memory.detail),
    )


def load_rows(config: TrainingWorkerConfig) -> tuple[LabelledRows, LabelledRows, list[Check]]:
    """Training rows, validation rows, and the checks over the training rows."""
    spec, settings = config.spec, config.spec.train
    encoder = TurnEncoder(load_tokenizer(spec.model), spec.turns)
    rows = read_table(config.rows / "train.parquet", FORMATTED_TRAIN)[:: settings.stride][: settings.limit]
    expected_rows = len(range(0, config.expected_rows, settings.stride)[: settings.limit])
    train, checks = encode_and_check(spec, encoder, rows, expected_rows)
    held_out = read_table(config.rows / "validation.parquet", FORMATTED_TRAIN)[: settings.validation_limit]
    validation, _ = encode_and_check(spec, encoder, held_out, len(held_out))
    checks.append(leakage_check(config.in_train_and_test))
    return train, validation, checks


def _build_loop(
    config: TrainingWorkerConfig, train: LabelledRows, validation: LabelledRows, group: ProcessGroup, events: Events
) -> tuple[Any, Loop, str]:
    """Load the model. Returns the peft model, the loop that trains it, and the name of the engine."""
    spec, settings, max_rows = config.spec, config.spec.train, config.runtime.train_batch_size
    events.progress(0, 0, "loading the model")
    dtype, dtype_reason = builder.compute_dtype(group.device)
    peft_model = builder.load_peft_model(spec, group.device, dtype)
    model, fallback_reason = builder.build_trainable(peft_model, dtype, settings.label_smoothing)
    engine = f"transformers ({fallback_reason})" if fallback_reason else "packed rows"
    events.log(f"matrix products in {str(dtype).removeprefix('torch.')}, since {dtype_reason}; training with {engine}")
    budget = token_budget(group.device, peft_model.config, dtype.itemsize, bool(fallback_reason))
    loop = Loop(
        model,
        settings,
        train,
        validation,
        group,
        events,
        budget if max_rows is None else UNLIMITED_TOKENS,
        max_rows,
        config.work / "checkpoints",
        _checkpoint_identity(spec, train, validation),
    )
    loop.timer.seconds = config.checkpoint_seconds
    return peft_model, loop, engine


def _checkpoint_identity(spec: TrainSpec, train: LabelledRows, validation: LabelledRows) -> str:
    """Identifies the checkpoints that may be resumed: same settings, same tokens, same code."""
    tokens = [[list(map(list, row)) for row in rows.rows] for rows in (train, validation)]
    return sha256({"spec": identity_of(spec), "tokens": tokens, "code": fingerprint("tasks.training.worker")})


def encode_and_check(
    spec: TrainSpec, encoder: TurnEncoder, rows: list[dict[str, Any]], expected_rows: int
) -> tuple[LabelledRows, list[Check]]:
    """Formatted rows -> token ids and labels (-100 where no loss is computed), and the checks over them."""
    settings = spec.train
    encoded = encoder.rows(
        [row["prompt"] for row in rows], [row["completion"] for row in rows], settings.max_length, settings.stop_token
    )
    masked = settings.loss_on == "completion"
    labels = [[IGNORED] * length + ids[length:] if masked else list(ids) for ids, length in encoded.rows]
    checks = Preflight(spec, encoder, rows, encoded, labels, expected_rows).checks()
    labelled = [(ids, row_labels) for (ids, _), row_labels in zip(encoded.rows, labels, strict=True)]
    return LabelledRows(labelled, [row["id"] for row in rows]), checks


def _memory_check(spec: TrainSpec, train: LabelledRows, max_rows: int | None, device: torch.device) -> Check:
    config = AutoConfig.from_pretrained(model_folder(spec.model), trust_remote_code=False)
    with torch.device("meta"):  # shapes without weights
        parameters = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    longest = max(train.lengths, default=0)
    tokens = longest * max_rows if max_rows else max(longest, CPU_TOKENS)
    if device.type == "cuda":
        free, name = torch.cuda.mem_get_info()[0], "GPU"
    else:
        free, name = psutil.virtual_memory().available, "CPU"
    return memory_check(parameters, config.num_hidden_layers, config.hidden_size, tokens, spec, free, name)


def save_payload(model: Any, spec: TrainSpec, loop: Loop, checks: list[Check], out: Path) -> None:
    """Write the payload. The same training gives the same bytes: it contains no path, no time and no unordered set."""
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    adapter_config = json.loads((out / "adapter_config.json").read_text())
    adapter_config |= {
        "base_model_name_or_path": spec.model.origin,
        "target_modules": sorted(spec.train.lora.targets),
        "revision": spec.model.revision if len(spec.model.revision) == 40 else None,
    }
    contents = {
        "adapter_config.json": adapter_config,
        "settings.json": identity_of(spec) | {"model_origin": spec.model.origin, "steps": loop.schedule.steps},
        "checks.json": [check.as_payload() for check in checks],
    }
    for name, content in contents.items():
        (out / name).write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    write_table(loop.progress.curve, CURVE, out / "curve.parquet")


def main() -> None:
    """Run as a worker process."""
    worker_main(run, TrainingWorkerConfig)


if __name__ == "__main__":
    main()

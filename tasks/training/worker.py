"""The trainer process: checks, then the training loop, then the payload.

    python -m tasks.training.worker CONFIG.json                    (tasks/train.py writes CONFIG.json)
    accelerate launch --multi_gpu --num_processes N -m tasks.training.worker CONFIG.json

Rows are encoded by tasks/models/chat_template.py, the code that also encodes prompts for generation.
"""

import json
from collections.abc import Mapping
from typing import Any

import psutil
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from artifacts.cache_key import identity_of, sha256
from artifacts.check import Check, refuse_failed
from artifacts.code_fingerprint import fingerprint
from artifacts.schemas import CANDIDATES, CURVE, FORMATTED_TRAIN, read_table, rows_of, write_table
from tasks.config import TrainSpec
from tasks.models.chat_template import TurnEncoder
from tasks.models.formatted_rows import in_fold, select_rows
from tasks.models.loading import load_tokenizer, model_folder
from tasks.training import builder
from tasks.training.engines import choose_engine, refuse_distillation
from tasks.training.loop import Loop
from tasks.training.memory import CPU_TOKENS, token_budget
from tasks.training.objective import Objective, Supervised
from tasks.training.packing import IGNORED, LabelledRows
from tasks.training.preference import Preference
from tasks.training.preference_rows import PreferencePairs, preference_pairs
from tasks.training.preflight import Preflight, leakage_check, memory_check
from tasks.training.process_group import ProcessGroup
from tasks.training.start_adapter import load_start_adapter
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
    model_config = AutoConfig.from_pretrained(model_folder(config.spec.model), trust_remote_code=False)
    dtype, dtype_reason = builder.compute_dtype(group.device)
    engine = choose_engine(config.spec.train, model_config, group.device, dtype)
    refuse_distillation(config.spec, engine)
    memory = _memory_check(config.spec, model_config, train, config.runtime.train_batch_size, group.device)
    for check in (*checks, engine.check(), memory):
        events.log(str(check))
    if config.check_only:
        return TrainingResult(checks=[*checks, engine.check(), memory])
    refuse_failed([*checks, engine.check()])
    pairs = _load_pairs(config) if config.spec.preference else None
    if pairs:
        events.log(str(pairs))
    events.log(f"matrix products in {str(dtype).removeprefix('torch.')}, since {dtype_reason}")
    peft_model, loop = _build_loop(config, pairs or train, validation, group, events, engine.name, dtype)
    meter.model_loaded()
    loop.run()
    if group.rank == 0:
        save_payload(peft_model, config, loop, checks)
    return TrainingResult(
        checks=checks,  # without the memory check, which depends on what else runs now
        rows=len(loop.objective.ids),
        steps=loop.schedule.steps,
        preference=pairs.facts() | loop.final_figures() if pairs else {},
        measured=meter.measurements(loop, group, str(engine), memory.detail),
    )


def load_rows(config: TrainingWorkerConfig) -> tuple[LabelledRows, LabelledRows, list[Check]]:
    """Training rows, validation rows, and the checks over the training rows."""
    spec, settings = config.spec, config.spec.train
    encoder = TurnEncoder(load_tokenizer(spec.model), spec.turns)
    selected = select_rows(read_table(config.rows / "train.parquet", FORMATTED_TRAIN), settings.stride, settings.limit)
    left_out = in_fold(selected, spec.without) if spec.without else [False] * len(selected)
    rows = [row for row, is_left_out in zip(selected, left_out, strict=True) if not is_left_out]
    expected_rows = len(range(0, config.expected_rows, settings.stride)[: settings.limit]) - sum(left_out)
    train, checks = encode_and_check(spec, encoder, rows, expected_rows)
    held_out = read_table(config.rows / "validation.parquet", FORMATTED_TRAIN)[: settings.validation_limit]
    validation, _ = encode_and_check(spec, encoder, held_out, len(held_out))
    checks.append(leakage_check(config.in_train_and_test))
    return train, validation, checks


def _load_pairs(config: TrainingWorkerConfig) -> PreferencePairs:
    """The pairs of a preference training."""
    spec, settings = config.spec, config.spec.train
    rows = select_rows(read_table(config.rows / "train.parquet", FORMATTED_TRAIN), settings.stride, settings.limit)
    candidates = (row for folder in config.candidates for row in rows_of(folder / "candidates.parquet", CANDIDATES))
    return preference_pairs(spec, TurnEncoder(load_tokenizer(spec.model), spec.turns), rows, candidates)


def _build_loop(
    config: TrainingWorkerConfig,
    train: LabelledRows | PreferencePairs,
    validation: LabelledRows,
    group: ProcessGroup,
    events: Events,
    engine: str,
    dtype: torch.dtype,
) -> tuple[Any, Loop]:
    """Load the model. Returns the peft model, and the loop of the engine that trains it."""
    spec, max_rows = config.spec, config.runtime.train_batch_size
    events.progress(0, 0, "loading the model")
    peft_model = builder.load_peft_model(spec, group.device, dtype)
    if config.start is not None:
        load_start_adapter(peft_model, config.start)
    budget = token_budget(group.device, peft_model.config, dtype.itemsize, engine == "trl")
    shared = (
        validation,
        group,
        events,
        budget if max_rows is None else UNLIMITED_TOKENS,
        max_rows,
        config.work / "checkpoints",
        _checkpoint_identity(spec, train, validation, engine, config.distilled_from),
    )
    if engine == "trl":
        from tasks.training.trl_loop import TrlLoop, TrlModel  # imports take seconds

        assert isinstance(train, LabelledRows)  # pairs are refused
        model = TrlModel(peft_model, dtype, spec.train.label_smoothing)
        loop: Loop = TrlLoop(model, load_tokenizer(spec.model), spec.train, train, *shared)
    else:
        key = "train.distill.learning_rate" if spec.preference else "train.learning_rate"
        loop = Loop(_objective(spec, peft_model, dtype, train), spec.step_settings, *shared, key)
    loop.timer.seconds = config.checkpoint_seconds
    return peft_model, loop


def _objective(
    spec: TrainSpec, peft_model: Any, dtype: torch.dtype, train: LabelledRows | PreferencePairs
) -> Objective:
    """What the packed engine minimizes."""
    if isinstance(train, LabelledRows):
        return Supervised(builder.build_packed(peft_model, dtype, spec.train.label_smoothing), train)
    assert spec.preference is not None
    packed = builder.build_packed(peft_model, dtype)
    if spec.preference.loss == "sft":
        return Supervised(packed, LabelledRows([preferred for preferred, _ in train.pairs], train.ids))
    return Preference(packed, train.pairs, train.ids, spec.preference)


def _checkpoint_identity(
    spec: TrainSpec,
    train: LabelledRows | PreferencePairs,
    validation: LabelledRows,
    engine: str,
    distilled_from: Mapping[str, str] | None = None,
) -> str:
    """Identifies the checkpoints that may be resumed: same settings, tokens, start, engine and code."""
    rows = train.rows if isinstance(train, LabelledRows) else [row for pair in train.pairs for row in pair]
    tokens = [[list(map(list, row)) for row in part] for part in (rows, validation.rows)]
    identity = {"spec": identity_of(spec), "tokens": tokens, "start": dict(distilled_from or {}), "engine": engine}
    return sha256(identity | {"code": fingerprint("tasks.training.worker")})


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


def _memory_check(
    spec: TrainSpec, config: Any, train: LabelledRows, max_rows: int | None, device: torch.device
) -> Check:
    """`config`: the model's configuration of transformers."""
    with torch.device("meta"):  # shapes without weights
        parameters = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    longest = max(train.lengths, default=0)
    tokens = longest * max_rows if max_rows else max(longest, CPU_TOKENS)
    if device.type == "cuda":
        free, name = torch.cuda.mem_get_info()[0], "GPU"
    else:
        free, name = psutil.virtual_memory().available, "CPU"
    return memory_check(parameters, config.num_hidden_layers, config.hidden_size, tokens, spec, free, name)


def save_payload(model: Any, config: TrainingWorkerConfig, loop: Loop, checks: list[Check]) -> None:
    """Write the payload. The same training gives the same bytes: it contains no path, no time and no unordered set."""
    spec, out = config.spec, config.out
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    adapter_config = json.loads((out / "adapter_config.json").read_text())
    adapter_config |= {
        "base_model_name_or_path": spec.model.origin,
        "target_modules": sorted(spec.train.lora.targets),
        "revision": spec.model.revision if len(spec.model.revision) == 40 else None,
    }
    settings = identity_of(spec) | {"model_origin": spec.model.origin, "steps": loop.schedule.steps}
    if config.distilled_from:
        settings["distilled_from"] = config.distilled_from
    contents = {
        "adapter_config.json": adapter_config,
        "settings.json": settings,
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

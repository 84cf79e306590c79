"""The trainer process: TRL's SFTTrainer with a LoRA adapter.

    accelerate launch -m tasks.lora_worker CONFIG.json        (CONFIG.json is written by tasks/train.py)

What differs from TRL's defaults, and why:
- Rows come encoded and labelled by tasks/turns.py, the same code that encodes prompts for generation.
- The language-model head sees labelled positions only: prompts are four fifths of a row, and on the CPU TRL projects all.
- Adapters stay fp32: TRL casts them to bf16 under quantization, where small steps round to nothing.
- A loss that is not finite ends the run: the Trainer would log it as 0.0 and finish.
"""

import json
import math
import os
import time
from pathlib import Path
from statistics import fmean
from typing import Any

import psutil
import torch
import torch.nn.functional as F
from datasets import Dataset
from peft import LoraConfig, TaskType, prepare_model_for_kbit_training
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PrinterCallback,
    TrainerCallback,
    set_seed,
)
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from artifacts.errors import StageError
from artifacts.identity import identity_of
from artifacts.schemas import CURVE, FORMATTED_TRAIN, read_table, write_table
from tasks.base_model import half_precision, load_model, load_tokenizer, model_folder, pick_device
from tasks.checks import Check, memory_check, refuse_failed, training_checks
from tasks.config import Runtime, TrainConfig, TrainSpec
from tasks.events import Events
from tasks.launch import be_worker
from tasks.turns import TurnEncoder

ON_CPU, ON_GPU = 2, 32
"""Rows in memory at once unless the recipe's runtime says otherwise. Two on the CPU keep quickstart within 5 GiB."""
EVAL_BATCH = 8
"""Fixed: the validation loss is a mean over batches, so another size would be another figure."""


class CompletionTrainer(SFTTrainer):
    """SFTTrainer whose head and loss see the labelled positions alone.

    Same loss as TRL's (sum of token losses over the tokens of the optimizer batch); entropy and accuracy, which cost a
    wait for the GPU every micro-batch, are left out.
    """

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        causal = self.accelerator.unwrap_model(model).get_base_model()
        if getattr(causal.config, "final_logit_softcapping", None):  # applied by the model between head and loss
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[no-any-return]
        labels = inputs["labels"][:, 1:]
        mask = labels != -100
        hidden = self._backbone(model, causal, inputs)[:, :-1][mask]
        head = causal.get_output_embeddings()
        logits = head(hidden.to(head.weight.dtype)).float()
        loss = F.cross_entropy(logits, labels[mask], reduction="sum")
        count = mask.sum() if num_items_in_batch is None else num_items_in_batch
        scale = self.accelerator.num_processes if num_items_in_batch is not None else 1
        return loss * scale / torch.as_tensor(count, device=loss.device).clamp(min=1)

    @staticmethod
    def _backbone(model: Any, causal: Any, inputs: Any) -> torch.Tensor:
        """Last hidden states. The head is taken off for the forward, so that wrappers around the model (DDP) still run."""
        head = causal.get_output_embeddings()
        causal.set_output_embeddings(torch.nn.Identity())
        try:
            states: torch.Tensor = model(
                input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
            ).logits
        finally:
            causal.set_output_embeddings(head)
        return states

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        super(SFTTrainer, self).log(logs, start_time)  # TRL's own adds the averages that compute_loss leaves out


class Watch(TrainerCallback):
    """Tells of the progress, and ends the run at the first loss that is not a number."""

    def __init__(self, events: Events) -> None:
        self.events = events

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        for name in ("loss", "grad_norm", "eval_loss"):
            value = (logs or {}).get(name)
            if value is not None and not math.isfinite(value):
                raise StageError(
                    f"{name} is {value} at step {state.global_step} of {state.max_steps} "
                    f"(learning rate {(logs or {}).get('learning_rate', float('nan')):.3g}): lower train.learning_rate; no adapter was written"
                )
        if logs and "loss" in logs and state.is_world_process_zero:
            self.events.progress(state.global_step, state.max_steps, f"loss {logs['loss']:.3f}")
        if logs and "eval_loss" in logs and state.is_world_process_zero:
            self.events.log(f"step {state.global_step}: validation loss {logs['eval_loss']:.4f}")


def work(config: dict[str, Any], events: Events) -> dict[str, Any]:
    """Check, train, save. Returns counts, findings and measurements."""
    started = time.perf_counter()
    spec, runtime = TrainSpec.model_validate(config["spec"]), Runtime.model_validate(config["runtime"])
    device = pick_device(runtime.device)
    if device.type == "cpu":
        torch.set_num_threads(runtime.threads or os.cpu_count() or 1)
    tokenizer = load_tokenizer(spec.model)
    encoder = TurnEncoder(tokenizer, spec.turns)
    folder = Path(config["rows"])
    settings = spec.train
    rows = read_table(folder / "train.parquet", FORMATTED_TRAIN)[:: settings.stride][: settings.limit]
    expected = len(range(0, config["expected"]["rows"], settings.stride)[: settings.limit])
    data, checks = prepare(spec, encoder, rows, expected)
    held_out = read_table(folder / "validation.parquet", FORMATTED_TRAIN)[: settings.validation_limit]
    validation, _ = prepare(spec, encoder, held_out, len(held_out))
    micro = micro_batch(runtime.train_batch_size or (ON_CPU if device.type == "cpu" else ON_GPU), settings.batch_size)
    shared = config["expected"]["in_train_and_test"]
    checks.append(Check("leakage", "note" if shared else "ok", f"{shared} dialogues stand in both train and test"))
    memory = _memory(spec, data, micro, device)
    for check in (*checks, memory):
        events.log(str(check))
    if config["check_only"]:
        return {"checks": [check.as_dict() for check in (*checks, memory)]}
    found = {"checks": [check.as_dict() for check in checks]}  # without free memory, which is of this hour
    refuse_failed(checks)

    events.progress(0, 0, "loading the model")
    trainer = build_trainer(spec, runtime, device, micro, tokenizer, data, validation, Path(config["work"]))
    trainer.add_callback(Watch(events))
    loaded = time.perf_counter()
    outcome = trainer.train()
    trained = time.perf_counter()
    result = {"rows": len(data), "facts": found | {"steps": outcome.global_step, "train_rows": len(data)}}
    if trainer.is_world_process_zero():
        save(trainer, spec, found["checks"], Path(config["out"]))
    tokens = fmean(data["length"]) * settings.batch_size * outcome.global_step  # padding not counted
    return result | {
        "measured": {
            "device": torch.cuda.get_device_name()
            if device.type == "cuda"
            else f"CPU, {torch.get_num_threads()} threads",
            "processes": trainer.accelerator.num_processes,
            "micro_batch": micro,
            "memory": memory.detail,
            "loading_seconds": round(loaded - started, 2),
            "training_seconds": round(trained - loaded, 2),
            "tokens_per_second": round(tokens / (trained - loaded), 1),
            "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if device.type == "cuda" else None,
        }
    }


def prepare(
    spec: TrainSpec, encoder: TurnEncoder, rows: list[dict[str, Any]], expected: int
) -> tuple[Dataset, list[Check]]:
    """Formatted rows -> input_ids and labels (-100 where no loss is taken), and the checks over them."""
    settings = spec.train
    encoded, cut, lost = encoder.rows(
        [row["prompt"] for row in rows], [row["completion"] for row in rows], settings.max_length, settings.stop_token
    )
    masked = settings.loss_on == "completion"
    labels = [[-100] * length + ids[length:] if masked else list(ids) for ids, length in encoded]
    checks = training_checks(spec, encoder, rows, encoded, labels, expected, cut, lost)
    ids = [ids for ids, _ in encoded]
    return Dataset.from_dict({"input_ids": ids, "labels": labels, "length": [len(row) for row in ids]}), checks


def micro_batch(wanted: int, batch: int) -> int:
    """The largest number of rows, at most `wanted`, that divides the optimizer batch."""
    return max(size for size in range(1, batch + 1) if batch % size == 0 and size <= max(1, wanted))


def build_trainer(
    spec: TrainSpec,
    runtime: Runtime,
    device: torch.device,
    micro: int,
    tokenizer: Any,
    data: Dataset,
    validation: Dataset,
    work: Path,
) -> CompletionTrainer:
    """Base model, adapter and trainer; the seed is set before the adapter's random half is drawn."""
    settings = spec.train
    set_seed(settings.seed)
    arguments = _arguments(settings, runtime, device, micro, len(data), work)
    placed: dict[str, Any] = {"device_map": {"": arguments.device}} if device.type == "cuda" else {}
    if spec.quantization == "nf4":
        placed["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=half_precision(device)
        )
    # on the CPU fp32 weights under bf16 autocast are the fastest of the choices that keep the head exact
    dtype = torch.float32 if device.type == "cpu" else half_precision(device)
    model: Any = load_model(spec.model, dtype, **placed)
    if spec.quantization == "nf4":
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
        for module in model.modules():
            # On a CPU with bf16 instructions bitsandbytes repacks its weights at the first evaluation, for a kernel
            # without gradients: training then goes on with wrong ones, and the loss looks healthy.
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = False
    lora = LoraConfig(
        r=settings.lora.rank, lora_alpha=settings.lora.alpha, lora_dropout=settings.lora.dropout,
        target_modules=list(settings.lora.targets), use_rslora=settings.lora.rslora, task_type=TaskType.CAUSAL_LM,
    )  # fmt: skip
    trainer = CompletionTrainer(
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=validation,
        processing_class=tokenizer,
        peft_config=lora,
    )
    trainer.remove_callback(PrinterCallback)
    for parameter in model_of(trainer).parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return trainer


def _arguments(
    settings: TrainConfig, runtime: Runtime, device: torch.device, micro: int, rows: int, work: Path
) -> SFTConfig:
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    per_process = micro_batch(micro, max(1, settings.batch_size // processes))
    steps = settings.max_steps or math.ceil(math.ceil(rows / settings.batch_size) * settings.epochs)
    half = half_precision(device) if device.type == "cuda" or _cpu_has_bf16() else torch.float32
    return SFTConfig(
        output_dir=str(work / "trainer"),
        per_device_train_batch_size=per_process,
        per_device_eval_batch_size=EVAL_BATCH,
        gradient_accumulation_steps=max(1, settings.batch_size // (per_process * processes)),
        max_steps=steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=math.ceil(steps * settings.warmup),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_gradient_norm,
        # bitsandbytes pages optimizer state between GPU and host: without a GPU it is AdamW
        optim="adamw_torch" if device.type == "cpu" or settings.optimizer == "adamw" else settings.optimizer,
        bf16=half == torch.bfloat16,
        fp16=half == torch.float16,
        use_cpu=device.type == "cpu",
        gradient_checkpointing=False,
        train_sampling_strategy="group_by_length",
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=True,
        dataloader_num_workers=runtime.workers,
        dataloader_pin_memory=device.type == "cuda",
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=max(1, math.ceil(steps / settings.evaluations)),
        eval_on_start=True,
        prediction_loss_only=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=settings.seed,
        data_seed=settings.seed,
        ddp_find_unused_parameters=False,
    )


def _cpu_has_bf16() -> bool:
    """bf16 instructions, without which bf16 on the CPU is slower than fp32."""
    return bool(torch.backends.cpu.get_cpu_capability().startswith("AVX512")) and "avx512_bf16" in _cpu_flags()


def _cpu_flags() -> str:
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""


def _memory(spec: TrainSpec, data: Dataset, micro: int, device: torch.device) -> Check:
    shape = AutoConfig.from_pretrained(model_folder(spec.model))
    with torch.device("meta"):  # shapes without weights
        empty = AutoModelForCausalLM.from_config(shape)
        parameters = sum(p.numel() for p in empty.parameters())
    longest = max(data["length"]) * micro
    if device.type == "cuda":
        free, where = torch.cuda.mem_get_info()[0], "GPU"
    else:
        free, where = psutil.virtual_memory().available, "CPU"
    return memory_check(parameters, shape.num_hidden_layers, shape.hidden_size, longest, spec, free, where)


def model_of(trainer: CompletionTrainer) -> Any:
    """The peft model without the wrappers of accelerate."""
    return trainer.accelerator.unwrap_model(trainer.model)


def save(trainer: CompletionTrainer, spec: TrainSpec, checks: list[dict[str, str]], out: Path) -> None:
    """Write the payload. The same training gives the same bytes: no path, no time, no order of a set."""
    model = model_of(trainer)
    model.save_pretrained(out)
    (out / "README.md").unlink(missing_ok=True)
    described = json.loads((out / "adapter_config.json").read_text())
    described |= {"base_model_name_or_path": spec.model.origin, "target_modules": sorted(spec.train.lora.targets)}
    described["revision"] = spec.model.revision if len(spec.model.revision) == 40 else None
    write = {
        "adapter_config.json": described,
        "settings.json": identity_of(spec) | {"model_origin": spec.model.origin, "steps": trainer.state.max_steps},
        "checks.json": checks,
    }
    for name, content in write.items():
        (out / name).write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    write_table(curve(trainer.state.log_history), CURVE, out / "curve.parquet")


def curve(history: list[dict[str, float]]) -> list[dict[str, Any]]:
    """The Trainer's log -> one row a step, with the validation loss where it was measured."""
    rows: dict[int, dict[str, Any]] = {}
    for entry in history:
        row = rows.setdefault(int(entry["step"]), {"step": int(entry["step"])})
        for column, name in (
            ("epoch", "epoch"), ("learning_rate", "learning_rate"), ("gradient_norm", "grad_norm"),
            ("train_loss", "loss"), ("validation_loss", "eval_loss"),
        ):  # fmt: skip
            if name in entry:
                row[column] = float(entry[name])
    return [rows[step] for step in sorted(rows)]


if __name__ == "__main__":
    be_worker(work)

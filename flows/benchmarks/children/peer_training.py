"""Children of `bench train`: other systems on the token ids that our stage trains on.

article          NF4, batch 1 x 4, autocast to fp16, paged 8-bit Adam, loss on every token: the loop of the article
trl-default      TRL with its defaults and a bf16 base: batch 8 x 4, checkpointing on
trl-tuned        TRL, bf16, batch 32 grouped by length, no checkpointing;  trl-nf4: the same over NF4
unsloth-bf16/nf4 Unsloth, otherwise as trl-tuned;  trl-fp32: TRL on the CPU, plain
It imports nothing of the project but flows.benchmarks.child_process.
"""

import json
import time
from pathlib import Path
from typing import Any

from flows.benchmarks.child_process import child_main

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
GROUPED = {"gradient_checkpointing": False, "train_sampling_strategy": "group_by_length"}
TRL: dict[str, dict[str, Any]] = {
    "trl-default": {"batch": 8, "accumulate": 4, "steps": 20},
    "trl-tuned": {"batch": 32, "steps": 40, **GROUPED},
    "trl-nf4": {"batch": 32, "steps": 40, **GROUPED},
    "unsloth-bf16": {"batch": 32, "steps": 40, **GROUPED},
    "unsloth-nf4": {"batch": 32, "steps": 40, **GROUPED},
    "trl-fp32": {"batch": 8, "steps": 10, "gradient_checkpointing": False},
    "parity": {"batch": 8, "gradient_checkpointing": False},
}


def measure(config: dict[str, Any]) -> dict[str, Any]:
    """Train with `system`. Returns samples, real tokens and seconds after the warm-up, and the peak of GPU memory."""
    if config["system"].startswith("unsloth"):
        import unsloth  # noqa: F401  # it patches transformers, so it is imported first
    import torch

    cuda = torch.cuda.is_available()
    rows = json.loads(Path(config["rows"]).read_text())["train"]
    figures = article(config, rows) if config["system"] == "article" else trl(config, rows)
    return figures | {
        "device": torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads",
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
    }


def load(folder: str, system: str) -> Any:
    """The base model: bf16, NF4 or, for the CPU's plain loop, fp32."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    options: dict[str, Any] = {"device_map": {"": 0}} if torch.cuda.is_available() else {}
    if system == "article" or system.endswith("nf4"):
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    plain = system == "trl-fp32" or (system == "parity" and not torch.cuda.is_available())
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32 if plain else torch.bfloat16, **options)


def trl(config: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """TRL's trainer, or Unsloth's over it."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, TrainerCallback, set_seed
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    system, cuda = config["system"], torch.cuda.is_available()
    options = TRL[system] | config.get("options", {})
    batch, accumulate, steps = options.pop("batch"), options.pop("accumulate", 1), options.pop("steps")
    steps, rank, alpha = min(steps, config["steps"]), config["rank"], config["alpha"]
    tokenizer, lora = AutoTokenizer.from_pretrained(config["model"]), None
    set_seed(config["seed"])
    if system.startswith("unsloth"):
        model = _unsloth(config["model"], system, rank, alpha)
        data = Dataset.from_list([{"prompt": row["prompt"], "completion": row["completion"]} for row in rows])
    else:
        model = load(config["model"], system)
        lora = LoraConfig(r=rank, lora_alpha=alpha, target_modules=LINEARS, task_type="CAUSAL_LM")
        if system == "parity":  # as in our stage: set the seed, then draw the random matrices of the adapter
            model, lora = get_peft_model(model, lora), None
        masks = [[0] * row["prompt_tokens"] + [1] * (len(row["ids"]) - row["prompt_tokens"]) for row in rows]
        data = Dataset.from_dict({"input_ids": [row["ids"] for row in rows], "completion_mask": masks})
        options["completion_only_loss"] = True
    defaults = {"learning_rate": 2e-4, "logging_steps": 5, "seed": config["seed"], "bf16": cuda, "max_length": 1024}
    arguments = SFTConfig(
        output_dir=str(Path(config["result_file"]).with_suffix(".out")),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulate,
        max_steps=steps,
        save_strategy="no",
        report_to=[],
        use_cpu=not cuda,
        disable_tqdm=True,
        **(defaults | options),
    )
    warm = min(config["warm"], steps // 2)
    clock: dict[str, Any] = {"counts": []}

    class Clock(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step in (warm, steps):
                if cuda:
                    torch.cuda.synchronize()
                clock[state.global_step] = (time.perf_counter(), len(clock["counts"]))

    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[Clock()],
    )
    step = trainer.training_step

    def counted(model: Any, inputs: Any, *more: Any, **named: Any) -> Any:
        mask = inputs.get("attention_mask")  # summed on the GPU and read at the end, so that no step waits for it
        ids = inputs["input_ids"]
        clock["counts"].append((batch, ids.numel()) if mask is None else (len(ids), mask.sum()))
        return step(model, inputs, *more, **named)

    trainer.training_step = counted  # type: ignore[method-assign]
    trainer.train()
    (start, first), (end, last) = clock[warm], clock[steps]
    timed = [(rows, int(tokens)) for rows, tokens in clock["counts"][first:last]]
    return {
        "seconds": end - start,
        "samples": sum(rows for rows, _ in timed),
        "tokens": float(sum(tokens for _, tokens in timed)),
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
    }


def _unsloth(folder: str, system: str, rank: int, alpha: int) -> Any:
    import torch
    from unsloth import FastLanguageModel

    model, _ = FastLanguageModel.from_pretrained(
        folder, max_seq_length=1024, dtype=torch.bfloat16, load_in_4bit=system.endswith("nf4"), local_files_only=True
    )
    return FastLanguageModel.get_peft_model(
        model,
        r=rank,
        lora_alpha=alpha,
        lora_dropout=0,
        target_modules=LINEARS,
        use_gradient_checkpointing=False,
        random_state=0,
    )


def article(config: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The article's loop: one dialogue at a time, four for each optimizer step, loss on every token."""
    import bitsandbytes
    import torch
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    cuda = torch.cuda.is_available()
    lora = LoraConfig(r=config["rank"], lora_alpha=config["alpha"], target_modules=LINEARS, task_type="CAUSAL_LM")
    base = prepare_model_for_kbit_training(load(config["model"], "article"), use_gradient_checkpointing=False)
    model: Any = get_peft_model(base, lora)
    trained = [p for p in model.parameters() if p.requires_grad]
    paged: Any = bitsandbytes.optim
    optimizer = paged.PagedAdamW8bit(trained, lr=2e-4) if cuda else torch.optim.AdamW(trained, lr=2e-4)
    model.train()
    steps = min(40, config["steps"])
    warm = min(10, steps // 2)
    start, tokens, end = 0.0, 0, 0.0
    for step in range(steps):
        if step == warm:
            start, tokens = time.perf_counter(), 0
        for row in (rows[i % len(rows)] for i in range(4 * step, 4 * step + 4)):
            ids = torch.tensor([row["ids"]], device=model.device)
            with torch.autocast(ids.device.type, dtype=torch.float16 if cuda else torch.bfloat16):
                loss = model(input_ids=ids, labels=ids).loss / 4
            loss.backward()
            tokens += ids.numel()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # waits for the GPU
        end = time.perf_counter()
    return {"seconds": end - start, "samples": 4 * (steps - warm), "tokens": float(tokens), "losses": []}


if __name__ == "__main__":
    child_main(measure)

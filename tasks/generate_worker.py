"""The generation process: batched, left-padded, longest rows first, every batch saved.

python -m tasks.generate_worker CONFIG.json        (CONFIG.json is written by tasks/generate.py)
"""

import hashlib
import os
import time
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import GenerationConfig

from artifacts.errors import StageError
from artifacts.schemas import FORMATTED_EVAL, PREDICTIONS, read_table, write_table
from tasks.base_model import half_precision, load_model, load_tokenizer, pick_device
from tasks.config import GenerateConfig, GenerateSpec, ResolvedModel, Runtime
from tasks.events import Events
from tasks.generate import read_parts
from tasks.launch import be_worker
from tasks.turns import TurnEncoder

ON_CPU, ON_GPU = 16, 64
"""Rows decoded together unless the recipe's runtime says otherwise."""


def work(config: dict[str, Any], events: Events) -> dict[str, Any]:
    """Predict the rows that no finished batch has yet. Returns measurements."""
    spec, runtime = GenerateSpec.model_validate(config["spec"]), Runtime.model_validate(config["runtime"])
    device = pick_device(runtime.device)
    if device.type == "cpu":
        torch.set_num_threads(runtime.threads or os.cpu_count() or 1)
    started = time.perf_counter()
    rows = read_table(Path(config["rows"]) / "test.parquet", FORMATTED_EVAL)[: spec.generate.limit]
    parts = Path(config["parts"])
    parts.mkdir(parents=True, exist_ok=True)
    done = {row["id"] for row in read_parts(parts)}
    if done:
        events.log(f"{len(done)} of {len(rows)} rows were predicted before the last run ended; going on")
    tokenizer = load_tokenizer(spec.model)
    encoder = TurnEncoder(tokenizer, spec.turns)
    prompts, cut = encoder.prompts([row["prompt"] for row in rows], spec.generate.max_prompt_tokens)
    if cut:
        events.log(f"{cut} of {len(rows)} prompts lose their end at {spec.generate.max_prompt_tokens} tokens")
    size = runtime.generate_batch_size or (ON_CPU if device.type == "cpu" else ON_GPU)
    batches = plan_batches([row["id"] for row in rows], prompts, size)
    events.progress(len(done), len(rows), "loading the model")
    model = merged(spec.model, Path(config["adapter"]) if config["adapter"] else None, device)
    loaded = time.perf_counter()
    new_tokens = 0
    for batch in batches:
        todo = [(name, ids) for name, ids in batch if name not in done]
        if not todo:
            continue
        made = decode(model, tokenizer, encoder.stop_id, [ids for _, ids in todo], spec.generate)
        predictions = [{"id": name} | row for (name, _), row in zip(todo, made, strict=True)]
        _save(predictions, parts)
        done.update(name for name, _ in todo)
        new_tokens += sum(row["tokens"] for row in predictions)
        rate = new_tokens / (time.perf_counter() - loaded)
        events.progress(len(done), len(rows), f"{rate:.0f} tokens/s")
    seconds = time.perf_counter() - loaded
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        "dtype": str(model.dtype).removeprefix("torch."),
        "batch": size,
        "loading_seconds": round(loaded - started, 2),
        "generating_seconds": round(seconds, 2),
        "tokens_per_second": round(new_tokens / seconds, 1) if new_tokens else None,
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2) if device.type == "cuda" else None,
    }


def plan_batches(names: list[str], prompts: list[list[int]], size: int) -> list[list[tuple[str, list[int]]]]:
    """Rows sorted by length, longest first, so that little is padding and too large a batch fails at once."""
    rows = sorted(zip(names, prompts, strict=True), key=lambda row: (-len(row[1]), row[0]))
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def merged(base: ResolvedModel, adapter: Path | None, device: torch.device) -> Any:
    """The base model with the adapter's weights added in: fp32 on the CPU, half precision on a GPU."""
    dtype = torch.float32 if device.type == "cpu" else half_precision(device)
    model: Any = load_model(base, dtype)
    model.to(device)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter, use_safetensors=True).merge_and_unload()
    return model.eval()


@torch.inference_mode()
def decode(
    model: Any, tokenizer: Any, stop_id: int, prompts: list[list[int]], settings: GenerateConfig
) -> list[dict[str, Any]]:
    """Decode one batch. `tokens` counts what was generated, the stop token included."""
    width = max(map(len, prompts))
    pad = tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=model.device)
    generated = model.generate(
        input_ids=ids,
        attention_mask=mask,
        generation_config=GenerationConfig(
            max_new_tokens=settings.max_new_tokens, num_beams=settings.beams, do_sample=False,
            length_penalty=settings.length_penalty if settings.beams > 1 else None,
            eos_token_id=stop_id, pad_token_id=pad,
        ),
    )[:, width:].tolist()  # fmt: skip
    if len(generated) != len(prompts):
        raise StageError(f"{len(generated)} outputs for {len(prompts)} prompts")
    rows = []
    for output in generated:
        stopped = stop_id in output
        kept = output[: output.index(stop_id)] if stopped else output
        text = tokenizer.decode(kept, skip_special_tokens=True).strip()
        rows.append({"prediction": text, "tokens": len(kept) + stopped, "stop": "stop_token" if stopped else "limit"})
    return rows


def _save(predictions: list[dict[str, Any]], parts: Path) -> None:
    """One file a batch, whole or not at all."""
    name = hashlib.sha256("\n".join(row["id"] for row in predictions).encode()).hexdigest()[:16]
    half = parts / f"{name}.half"
    write_table(predictions, PREDICTIONS, half)
    half.rename(parts / f"{name}.parquet")


if __name__ == "__main__":
    be_worker(work)
